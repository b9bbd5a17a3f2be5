//! Random and mutated files: an error or a state, never a panic, never a hang.

use super::*;
use crate::storage::sim_disk::Draw;

fn rounds(short: u64) -> u64 {
    std::env::var("ROOKEEPER_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(short)
}

fn load_quietly(disk: &SimDisk) {
    if let Ok((state, end)) = load(disk) {
        // Whatever loads has no hole.
        for pair in state.history.windows(2) {
            assert!(Zxid(pair[1].0).follows(Zxid(pair[0].0)), "{:?}", state.history);
        }
        assert!(end.last.0 <= 40);
    }
}

#[test]
fn mutated_directories() {
    let whole = [probe_disk(true), probe_disk(false)];
    for disk in &whole {
        snapshot_of(disk, 12, &history(1..=12));
        write_snapshot(disk, 17, &history(1..=17), Compression::Gz)
            .unwrap()
            .finish(&sections(17))
            .unwrap();
        write_snapshot(disk, 22, &history(1..=22), Compression::Snappy)
            .unwrap()
            .finish(&sections(22))
            .unwrap();
        disk.settle();
    }
    let mut draw = Draw::new(5);
    for round in 0..rounds(1500) {
        let disk = whole[draw.below(2) as usize].fork(round);
        for _ in 0..1 + draw.below(3) {
            let files = disk.list(&dirs().logs).unwrap();
            let (name, len) = files[draw.below(files.len() as u64) as usize].clone();
            let path = file(&name);
            let used = len.clamp(1, 1600);
            match draw.below(6) {
                0 => disk.flip(&path, draw.below(used), 1 << draw.below(8)).unwrap(),
                1 => disk.open_write(&path).unwrap().set_len(draw.below(used)).unwrap(),
                2 => {
                    let junk: Vec<u8> = (0..draw.below(64)).map(|_| draw.any() as u8).collect();
                    let at = draw.below(used);
                    disk.open_write(&path).unwrap().write_at(at, &junk).unwrap();
                }
                3 => {
                    let zeros = vec![0; draw.below(600) as usize];
                    let at = draw.below(used);
                    disk.open_write(&path).unwrap().write_at(at, &zeros).unwrap();
                }
                4 => {
                    let interesting = [i32::MAX, i32::MIN, -1, 0, 1, 0x5A4B_4C47, 1 << 30];
                    let n = interesting[draw.below(7) as usize];
                    let at = draw.below(used);
                    disk.open_write(&path).unwrap().write_at(at, &n.to_be_bytes()).unwrap();
                }
                _ => disk.remove(&path).unwrap(),
            }
        }
        disk.settle();
        load_quietly(&disk);
    }
}

#[test]
fn random_files() {
    let mut draw = Draw::new(6);
    for round in 0..rounds(600) {
        let disk = SimDisk::new(round);
        disk.create_dir_all(&dirs().logs).unwrap();
        for name in ["log.1", "log.5", "snapshot.0", "snapshot.3.gz", "snapshot.4.snappy"] {
            let mut bytes: Vec<u8> = match (name.chars().next(), draw.below(4)) {
                (_, 0) => vec![],
                (Some('l'), _) => b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec(),
                _ if name.ends_with("gz") => vec![0x1f, 0x8b, 8, 0],
                _ if name.ends_with("snappy") => b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec(),
                _ => b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            };
            for _ in 0..draw.below(200) {
                let small = draw.one_in(2);
                bytes.push(if small { draw.below(3) as u8 } else { draw.any() as u8 });
            }
            if draw.one_in(2) {
                bytes.extend_from_slice(&[0, 0, 0, 1, b'/']);
            }
            disk.create(&file(name)).unwrap().write_at(0, &bytes).unwrap();
        }
        disk.settle();
        load_quietly(&disk);
    }
}
