"""The installed commands. A command imports its own module only: ``--help`` has to be quick."""
