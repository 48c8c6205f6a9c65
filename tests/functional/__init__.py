"""Salt's loaders, Docker, libvirt and stores for real, without masters and minions."""
