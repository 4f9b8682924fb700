//! A control group whose processes may use so much memory together (`cgroups(7)`).

use std::fs;
use std::io;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process;

/// A group below this process's own; it is removed when dropped, when its processes have ended.
pub struct MemoryGroup {
    path: PathBuf,
    is_ours: bool,
}

impl MemoryGroup {
    /// Makes a group for this many bytes.
    ///
    /// # Errors
    ///
    /// Where this process may not do that.
    pub fn new(limit: u64) -> io::Result<Self> {
        let (parent, file) = own()?;
        let path = parent.join(name(process::id()));
        fs::create_dir(&path)?;
        let group = Self {
            path,
            is_ours: true,
        };
        fs::write(group.path.join(file), limit.to_string())?;
        Ok(group)
    }

    /// The group that the parent of this process has made.
    ///
    /// # Errors
    ///
    /// Where there can be none.
    pub fn of_parent() -> io::Result<Self> {
        Ok(Self {
            path: own()?.0.join(name(parent_id())),
            is_ours: false,
        })
    }

    /// Moves this process into the group.
    pub fn enter(&self) {
        fs::write(self.path.join("cgroup.procs"), "0").unwrap();
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn name(maker: u32) -> String {
    format!("runtime-test-{maker}")
}

/// This process's group, and the file that limits the memory of one, in either version of control groups.
fn own() -> io::Result<(PathBuf, &'static str)> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let find = |text| groups.lines().find_map(|line| line.split_once(text));
    let (_, path) = find(":memory:/").or(find("0::/")).unwrap_or_default();
    let mut versions = [
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ]
    .into_iter()
    .map(|(root, file)| (Path::new(root).join(path), file));
    let group = versions.find(|(group, file)| group.join(file).exists());
    group.ok_or_else(|| io::Error::other("no group limits the memory of this process"))
}
