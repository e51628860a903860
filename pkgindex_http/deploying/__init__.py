"""Configuration files for the programs that run a server: nginx, systemd, containers, Kubernetes."""
