"""A small ext4 of the test's own, on a loop device, whose power can be cut."""

import fcntl
import os
import struct
import subprocess

import pytest

#: _IOR('X', 125, __u32) of ext4, and the flag that loses what its journal has not: EXT4_GOING_FLAGS_NOLOGFLUSH.
SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, 2


class Disk:
    def __init__(self, folder, megabytes):
        self.place, self.image = os.path.join(folder, "disk"), os.path.join(folder, "image")
        self.is_mounted = False
        if os.geteuid() != 0:
            pytest.skip("needs root to mount a file system of its own")
        os.mkdir(self.place)
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        made = subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", self.image], capture_output=True,
                              text=True)
        if made.returncode != 0:
            pytest.skip("no ext4 can be made here: " + made.stderr.strip())
        tried = self._mount()
        if tried.returncode != 0:
            pytest.skip("no loop device can be mounted here: " + tried.stderr.strip())

    def _mount(self):
        result = subprocess.run(["mount", "-o", "loop", self.image, self.place], capture_output=True, text=True)
        self.is_mounted = result.returncode == 0
        return result

    def cut_power(self):
        """From this moment on nothing reaches the disk any more, not even what the file system's journal holds."""
        place = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(place, SHUTDOWN, struct.pack("I", WITHOUT_FLUSH))
        finally:
            os.close(place)

    def power_up(self):
        """Mounts the disk as it is after the cut."""
        self.unmount()
        result = self._mount()
        assert result.returncode == 0, result.stderr

    def unmount(self):
        if self.is_mounted:
            result = subprocess.run(["umount", self.place], capture_output=True, text=True)
            assert result.returncode == 0, result.stderr
            self.is_mounted = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.place], capture_output=True)
