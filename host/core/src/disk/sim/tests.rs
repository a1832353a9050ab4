//! What the simulated disk promises to lose and to keep.

#![allow(clippy::unwrap_used)]

use super::*;

fn disk(seed: u64) -> (SimDisk, std::path::PathBuf) {
    let disk = SimDisk::new(seed);
    let dir = Path::new("/data").to_path_buf();
    disk.create_dir_all(&dir).unwrap();
    (disk, dir)
}

fn content(disk: &SimDisk, path: &Path) -> Vec<u8> {
    super::super::read_all(disk, path, 1 << 20).unwrap()
}

#[test]
fn what_is_synced_survives_and_what_is_not_may_be_torn_at_sectors() {
    let mut torn = 0;
    for seed in 0..50 {
        let (disk, dir) = disk(seed);
        let path = dir.join("f");
        let file = disk.open(&path, OpenMode::CreateNew).unwrap();
        file.write_synced_at(&[&[1; 2_048]], 0).unwrap();
        disk.sync_dir(&dir).unwrap();
        file.write_at(&[&[2; 2_048]], 0).unwrap();
        disk.crash();
        let left = content(&disk, &path);
        assert_eq!(left.len(), 2_048);
        for sector in left.chunks(SECTOR_BYTES) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
        }
        torn += disk.counters().files_torn;
        assert!(file.sync().is_err(), "the old process is gone");
    }
    assert!(torn > 0);
}

#[test]
fn names_that_are_not_synced_may_be_lost_and_synced_ones_never() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..50 {
        let (disk, dir) = disk(seed);
        disk.open(&dir.join("old"), OpenMode::CreateNew).unwrap().sync().unwrap();
        disk.sync_dir(&dir).unwrap();
        disk.open(&dir.join("new"), OpenMode::CreateNew).unwrap().sync().unwrap();
        disk.crash();
        let names: Vec<String> = disk.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
        assert!(names.contains(&"old".to_owned()));
        if names.len() == 2 { kept += 1 } else { lost += 1 }
    }
    assert!(lost > 0 && kept > 0);
}

#[test]
fn a_failed_sync_lies_ever_after() {
    let mut lies = 0;
    for seed in 0..20 {
        let (disk, dir) = disk(seed);
        let path = dir.join("f");
        let file = disk.open(&path, OpenMode::CreateNew).unwrap();
        file.write_synced_at(&[&[1; 4_096]], 0).unwrap();
        disk.sync_dir(&dir).unwrap();
        disk.fail_syncs(0, 1);
        assert!(file.write_synced_at(&[&[2; 4_096]], 0).is_err());
        file.sync().expect("the second sync succeeds");
        assert_eq!(content(&disk, &path), vec![2; 4_096], "readers still see the cache");
        disk.kill();
        assert_eq!(content(&disk, &path), vec![2; 4_096], "and so does the next process");
        disk.crash();
        assert!(content(&disk, &path).contains(&1));
        lies += disk.counters().lies_lost;
    }
    assert!(lies > 0);
}

#[test]
fn a_full_disk_refuses_growth_and_a_stop_refuses_everything() {
    let (disk, dir) = disk(1);
    let path = dir.join("f");
    let file = disk.open(&path, OpenMode::CreateNew).unwrap();
    disk.set_capacity_bytes(1_000);
    file.write_at(&[&[1; 900]], 0).unwrap();
    assert_eq!(file.write_at(&[&[1; 200]], 900).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_at(&[&[2; 900]], 0).expect("overwriting takes no room");
    assert_eq!(disk.free_bytes(&dir).unwrap(), 100);
    disk.stop_after(2);
    file.sync().unwrap();
    assert!(file.sync().is_err());
    assert_eq!(disk.stopped_at(), Some("sync"));
    assert!(disk.list(&dir).is_err());
    disk.crash();
    assert!(disk.list(&dir).is_ok());
}

#[test]
fn a_lock_is_held_once_and_dies_with_its_process() {
    let (disk, dir) = disk(1);
    let lock = disk.lock(&dir.join("lock")).unwrap();
    assert!(disk.lock(&dir.join("lock")).is_err());
    disk.kill();
    let second = disk.lock(&dir.join("lock")).unwrap();
    drop(lock);
    assert!(disk.lock(&dir.join("lock")).is_err(), "the old lock gives nothing back");
    drop(second);
    assert!(disk.lock(&dir.join("lock")).is_ok());
}

#[test]
fn one_seed_gives_one_run_and_a_fork_is_its_own_disk() {
    let run = |seed| {
        let (disk, dir) = disk(seed);
        let file = disk.open(&dir.join("f"), OpenMode::CreateNew).unwrap();
        disk.sync_dir(&dir).unwrap();
        file.write_at(&[&[7; 8_192]], 0).unwrap();
        let fork = disk.fork(seed);
        disk.crash();
        assert_eq!(content(&fork, &dir.join("f")), vec![7; 8_192]);
        content(&disk, &dir.join("f"))
    };
    assert_eq!(run(3), run(3));
    assert!((0..20).any(|seed| run(seed) != run(seed + 1)));
}
