//! LLVM's tools that read what instrumented programs wrote, of the toolchain that built them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::project::{root, run_quietly, say};

pub(crate) struct Tools {
    merge: PathBuf,
    read: PathBuf,
}

impl Tools {
    /// Those of the toolchain in use; rustup adds them to it if they are not there.
    pub(crate) fn provide() -> anyhow::Result<Self> {
        let sysroot = run_quietly(
            Command::new("rustc").args(["--print", "target-libdir"]).current_dir(root()),
        )?;
        let libraries = PathBuf::from(String::from_utf8(sysroot)?.trim());
        let programs = libraries.parent().context("libraries have a place")?.join("bin");
        let tools = Self { merge: programs.join("llvm-profdata"), read: programs.join("llvm-cov") };
        if !tools.merge.is_file() {
            say("coverage: fetching rustup's component llvm-tools");
            let add = ["component", "add", "llvm-tools"];
            run_quietly(Command::new("rustup").args(add).current_dir(root()))?;
        }
        Ok(tools)
    }

    /// The counts of lines in `folder/counts`, in lcov's format. Those `programs` wrote them.
    pub(super) fn read(
        &self,
        counts: &Path,
        programs: &[PathBuf],
        folder: &Path,
    ) -> anyhow::Result<String> {
        let merged = folder.join("merged.profdata");
        // A process that is killed while it begins leaves a torn file.
        let mut merge = Command::new(&self.merge);
        merge.args(["merge", "--sparse", "--failure-mode=all", "--output"]).arg(&merged);
        run_quietly(merge.arg(counts))?;
        let mut read = Command::new(&self.read);
        read.args(["export", "--format=lcov", "--instr-profile"]).arg(&merged);
        let (first, others) = programs.split_first().context("nothing was built")?;
        read.arg(first);
        for program in others {
            read.arg("--object").arg(program);
        }
        let table = String::from_utf8(run_quietly(&mut read)?).context("lines are text")?;
        ensure!(!table.is_empty(), "the programs counted nothing");
        std::fs::write(folder.join("lcov.info"), &table)?;
        Ok(table)
    }
}
