"""Commands in a mount namespace of their own."""

import subprocess

import pytest

NAMESPACE = ["unshare", "-Urm", "sh", "-c"]


def need_namespaces():
    if subprocess.run([*NAMESPACE, "mount -t tmpfs tmpfs /mnt"], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a small disk of their own")
