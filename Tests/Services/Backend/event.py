"""Envelopes of events, as the original's Go and TypeScript write them."""

import datetime
import json
import uuid

MEMBERSHIP_CREATED, MEMBERSHIP_CREATED_FOR_PROJECT = "MembershipCreated", "MembershipCreatedForProject"
MEMBERSHIP_UPDATED, MEMBERSHIP_DELETED = "MembershipUpdated", "MembershipDeleted"
PROJECT_CREATED, PROJECT_UPDATED, PROJECT_DELETED = "ProjectCreated", "ProjectUpdated", "ProjectDeleted"
CHANNELS = [MEMBERSHIP_CREATED, MEMBERSHIP_CREATED_FOR_PROJECT, MEMBERSHIP_UPDATED, MEMBERSHIP_DELETED, PROJECT_CREATED,
            PROJECT_UPDATED, PROJECT_DELETED]
#: Who listens to what.
LISTENS = {"users": [PROJECT_CREATED, PROJECT_UPDATED, PROJECT_DELETED],
           "projects": [MEMBERSHIP_CREATED, MEMBERSHIP_CREATED_FOR_PROJECT, MEMBERSHIP_UPDATED, MEMBERSHIP_DELETED,
                        PROJECT_UPDATED]}


def go_time(moment=None, zone="UTC"):
    """A time as Go prints it: nine digits at most, no trailing zeros. `+0000 +0000` is what O reads back from Postgres."""
    moment = moment or datetime.datetime.now(datetime.timezone.utc)
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return moment.strftime("%Y-%m-%d %H:%M:%S") + fraction + " +0000 " + zone


def envelope(kind, data, user_id=None, event_id=None):
    """The bytes of an event, in the order in which Go writes the keys."""
    return json.dumps({"data": data, "id": event_id or str(uuid.uuid4()),
                       "metadata": {"traceId": str(uuid.uuid4()), "userId": user_id or str(uuid.uuid4())}, "type": kind},
                      ensure_ascii=False, separators=(",", ":")).encode()


def project_created(project_id, user_id, name="Testing", moment=None, **changes):
    time = go_time(moment)
    data = {"projectId": project_id, "name": name, "prefix": name[:3] + "-", "description": "", "userId": user_id,
            "teamId": "", "active": True, "public": False,
            "columnOrder": ["column-1", "column-2", "column-3", "column-4"], "updatedAt": time, "createdAt": time}
    return envelope(PROJECT_CREATED, data | changes, user_id)


def project_updated(project_id, user_id, moment=None, **changes):
    return envelope(PROJECT_UPDATED, {"projectId": project_id, "updatedAt": go_time(moment)} | changes, user_id)


def project_deleted(project_id, user_id):
    return envelope(PROJECT_DELETED, {"projectId": project_id}, user_id)
