"""From a Hydra configuration to clips and jobs: checks, trust, studies."""
