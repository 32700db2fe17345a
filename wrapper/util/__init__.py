"""What is about no subject of ours: locks, removal, files of others, caches, TOML and YAML."""
