//! The machine, as far as it matters for a figure.
//!
//! In: the directory that is written to. Out: one sentence, without names or paths.

use std::fs;
use std::path::Path;

/// Cores, memory, kernel, and the file system of the directory.
pub fn describe(directory: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy().into_owned();
    let number: String = release.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let gib = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / f64::from(1 << 20))
    });
    format!(
        "Machine: {cores} cores shared by server and generator, {:.0} GiB, Linux {}, {}{}.",
        gib.unwrap_or(f64::NAN),
        number.trim_end_matches('.'),
        processor(),
        disk(directory).map(|disk| format!(", {disk}")).unwrap_or_default()
    )
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor").to_owned()
}

/// File system and kind of block device of the directory.
fn disk(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let (_, device, kind) = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (device, at, kind) = (words.next()?, words.next()?, words.next()?);
            directory.starts_with(at).then_some((at.len(), device.to_owned(), kind.to_owned()))
        })
        .max_by_key(|(length, ..)| *length)?;
    let name = device.strip_prefix("/dev/").unwrap_or("");
    let block = match name {
        _ if name.starts_with("vd") => " on a virtio disk",
        _ if name.starts_with("nvme") => " on NVMe",
        _ if name.starts_with("sd") => " on a SCSI or SATA disk",
        _ => "",
    };
    Some(format!("{kind}{block}"))
}
