"""
Fixtures of real things: one pytest plugin per subject. Nothing starts unless a test asks for it.

Those of the session are shared: tests clean up behind themselves and do not kill them. ``new_…`` make things of the
test's own, to kill and to configure.

==================================================================  ==================================================
``docker_host``, ``new_docker_host()``                              a Docker Engine in a network namespace
``connected_docker_host``                                           a Docker Engine whose containers reach the outside
``systemd_container()``, ``salt_container()``                       a fresh Debian with systemd; with Salt, and us
``libvirt_host``, ``other_libvirt_host``, ``new_libvirt_host()``    a libvirtd that takes itself for a host
``tiny_guest``                                                      a guest that boots in seconds without KVM
``rig``, ``traveller``, ``make_rig()``, ``virsh()``                 guests with disks to work on, and their witness
``etcd_server``, ``new_etcd_server()``                              an etcd
``postgresql_server``, ``new_postgresql_server()``                  a PostgreSQL
``tcp_relay()``                                                     a bad network
``faketime()``                                                      a wall clock that steps
``small_disk()``                                                    a disk that gets full
``loaders``, ``new_loaders()``, ``new_runners()``                   Salt's loaders without daemons
``master``, ``minion``, ``new_master()``, ``new_minion()``          Salt's daemons
``salt_cli``, ``salt_run_cli``, ``salt_key_cli``                    Salt's commands on ``master``
``daemon_root``                                                     a short directory for more of the kind
==================================================================  ==================================================

``waiting.wait_until`` waits for a condition with a deadline, ``processes.Daemon`` runs a program of the tests' own,
``roots.cached`` keeps what is dear to build, and ``leftovers`` fails a session that leaves a process running.
"""
