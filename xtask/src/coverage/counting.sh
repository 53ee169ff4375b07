#!/bin/sh
# What cargo runs in place of rustc for the workspace's own crates, so that they count which of their lines are run: into
# a file all along (LLVM calls this relocated counters), so that what a killed process ran counts too.
exec "$@" -C instrument-coverage -C llvm-args=-runtime-counter-relocation
