"""What Salt users with several masters, Docker hosts and libvirt hosts lack."""

__version__ = "0.1.0"
