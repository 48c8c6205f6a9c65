"""
Fixtures of real things: one pytest plugin per subject. Nothing starts unless a test asks for it.

Those of the session are shared: tests clean up behind themselves and do not kill them. ``new_…`` make things of the
test's own, to kill and to configure.

==================================================================  ==================================================
``docker_host``, ``new_docker_host()``                              a Docker Engine in a network namespace
``run_container()``                                                 a container on ``docker_host``
``podman_host``                                                     Podman's service, which speaks Docker's API
``connected_docker_host``                                           a Docker Engine whose containers reach the outside
``systemd_container()``, ``salt_container()``                       a fresh Debian with systemd; with Salt, and us
``libvirt_host``, ``other_libvirt_host``, ``new_libvirt_host()``    a libvirtd that takes itself for a host
``tiny_guest``                                                      a guest that boots in seconds without KVM
``agent_guest``, ``new_agent_guest()``                              one with the QEMU guest agent, or one that lies
``watch()``                                                         the registry of ports, as the engine keeps it
``rig``, ``traveller``, ``make_rig()``, ``virsh()``                 guests with disks to work on, and their witness
``slow_convert``                                                    a qemu-img that takes longer than any test
``etcd_server``, ``new_etcd_server()``                              an etcd
``postgresql_server``, ``new_postgresql_server()``                  a PostgreSQL
``tcp_relay()``                                                     a bad network
``faketime()``                                                      a wall clock that steps
``small_disk()``                                                    a disk that gets full
``loaders``, ``new_loaders()``, ``new_runners()``                   Salt's loaders without daemons
``master``, ``minion``, ``new_master()``, ``new_minion()``          Salt's daemons
``salt_cli``, ``salt_run_cli``, ``salt_key_cli``                    Salt's commands on ``master``
``fake_minions()``, ``module_fake_minions()``                       fake minions, by the package's own pytest plugin
``render``                                                          a formula's states, for any system and pillar
``formula_host()``                                                  a fresh Debian to apply formulas to
``daemon_root``                                                     a short directory for more of the kind
==================================================================  ==================================================

``waiting.wait_until`` waits for a condition with a deadline, ``processes.Daemon`` runs a program of the tests' own,
``roots.cached`` keeps what is dear to build, and ``leftovers`` fails a session that leaves a process running.
"""
