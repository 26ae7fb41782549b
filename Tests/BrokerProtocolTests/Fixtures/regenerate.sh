#!/usr/bin/env bash
# Writes streaming.golden: one line per case, "<message> <case> <hex of the bytes protoc made>".
# Needs protoc (Debian: protobuf-compiler). The tests read the golden file alone.
set -euo pipefail
cd "$(dirname "$0")"
out=streaming.golden
: > "$out"
emit() {  # message, case name, fields in protobuf's text format
    printf '%s %s %s\n' "$1" "$2" "$(printf '%s' "$3" | protoc --encode="pb.$1" streaming.proto | od -An -v -tx1 | tr -d ' \n')" >> "$out"
}
big=$(printf 'x%.0s' $(seq 1 300))
emit PubMsg full 'clientID: "me" guid: "G1" subject: "orders.new" reply: "r.1" data: "\000\001payload\377" connID: "conn-9"'
emit PubMsg empty ''
emit PubMsg long "clientID: \"c\" guid: \"g\" subject: \"s\" data: \"$big\""
emit PubMsg notUTF8 'clientID: "\377\376" guid: "g" subject: "s\300"'
emit PubMsg withUnknown 'clientID: "me" guid: "G1" subject: "s" sha256: "abc"'
emit PubAck stored 'guid: "G1"'
emit PubAck refused 'guid: "G1" error: "stan: invalid publish request"'
emit MsgProto first 'sequence: 1 subject: "p" data: "1" timestamp: 1790000000123456789'
emit MsgProto redelivered 'sequence: 18446744073709551615 subject: "p" reply: "r" data: "1" timestamp: -1 redelivered: true redeliveryCount: 4294967295'
emit MsgProto withUnknown 'sequence: 300 subject: "p" CRC32: 7'
emit Ack one 'subject: "orders" sequence: 128'
emit ConnectRequest full 'clientID: "me" heartbeatInbox: "_INBOX.hb" protocol: 1 connID: "\001\002" pingInterval: 5 pingMaxOut: 88'
emit ConnectRequest negative 'clientID: "me" protocol: -1 pingInterval: -2147483648 pingMaxOut: 2147483647'
emit ConnectResponse protocolOne 'pubPrefix: "_STAN.pub.vc" subRequests: "_STAN.sub.vc" unsubRequests: "_STAN.unsub.vc" closeRequests: "_STAN.close.vc" subCloseRequests: "_STAN.subclose.vc" pingRequests: "_STAN.discover.vc.pings" pingInterval: 5 pingMaxOut: 3 protocol: 1'
emit ConnectResponse error 'error: "stan: invalid connection request"'
emit ConnectResponse withUnknown 'pubPrefix: "p" protocol: 1 publicKey: "k"'
emit Ping one 'connID: "conn-9"'
emit PingResponse ok ''
emit PingResponse replaced 'error: "client has been replaced or is no longer registered"'
emit SubscriptionRequest full 'clientID: "me" subject: "orders" qGroup: "workers" inbox: "_INBOX.m" maxInFlight: 1024 ackWaitInSecs: 30 durableName: "dur" startPosition: First startSequence: 18446744073709551615 startTimeDelta: -3600000000000'
emit SubscriptionRequest plain 'clientID: "me" subject: "orders" inbox: "_INBOX.m" maxInFlight: 1 ackWaitInSecs: 1 startPosition: TimeDeltaStart startTimeDelta: 5000000000'
emit SubscriptionResponse ok 'ackInbox: "_INBOX.abcdefghijklmnopqrstuv"'
emit SubscriptionResponse error 'error: "stan: unknown clientID"'
emit UnsubscribeRequest full 'clientID: "me" subject: "orders" inbox: "_INBOX.ack" durableName: "dur"'
emit CloseRequest one 'clientID: "me"'
emit CloseResponse ok ''
emit CloseResponse error 'error: "stan: unknown clientID"'
