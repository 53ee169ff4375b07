//! Directories that are not as they were left.

use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

const SMALL: Options = Options {
    capacity: 1 << 20,
    max_age: None,
    segment_bytes: 8 << 20,
    sync: Sync::BeforeAcknowledge,
    cache_bytes: 0,
    cursor_lag: 4 << 20,
};

/// A directory with these records, none settled.
fn filled(lengths: &[usize]) -> TempDir {
    let directory = super::directory();
    runtime().block_on(async {
        let (queue, _) = open(directory.path(), SMALL);
        for (number, &length) in lengths.iter().enumerate() {
            queue.push(record(number as u64, length)).await.unwrap();
        }
        queue.flush().await.unwrap();
    });
    directory
}

/// What is found in a directory: by the recovery, and by reading.
fn found(directory: &Path) -> (Recovered, Vec<Bytes>) {
    runtime().block_on(async {
        let (queue, recovered) = open(directory, SMALL);
        let counts = queue.counts();
        assert_eq!(
            (counts.waiting_records, counts.waiting_bytes),
            (recovered.records, recovered.bytes)
        );
        let records = drain(&queue).await;
        assert_eq!(records.len() as u64, recovered.records);
        queue.flush().await.unwrap();
        (recovered, records)
    })
}

#[test]
fn a_torn_tail_is_cut() {
    let directory = filled(&[20, 300, 33]);
    let bytes = std::fs::read(&segments(directory.path())[0]).unwrap();
    let whole = bytes.len() - 40 - 33;
    for length in whole..=bytes.len() {
        let copy = copy(directory.path());
        let segment = &segments(copy.path())[0];
        std::fs::write(segment, &bytes[..length]).unwrap();
        let (recovered, records) = found(copy.path());
        let (kept, cut) = if length == bytes.len() { (3, 0) } else { (2, length - whole) };
        assert_eq!(numbers(&records), (0..kept).collect::<Vec<_>>());
        assert_eq!((recovered.cut_tail_bytes, recovered.damaged_records), (cut as u64, 0));
    }
}

#[test]
fn a_header_that_was_not_written_whole_is_nothing() {
    let directory = filled(&[20]);
    let bytes = std::fs::read(&segments(directory.path())[0]).unwrap();
    for length in 0..96 {
        let copy = copy(directory.path());
        std::fs::write(&segments(copy.path())[0], &bytes[..length]).unwrap();
        let (recovered, _) = found(copy.path());
        assert_eq!(recovered.records + recovered.damaged_records, 0);
        assert_eq!(recovered.cut_tail_bytes, if length < 48 { length as u64 } else { 0 });
    }
}

/// Never a wrong record, and every one is accounted for, with one bit changed anywhere.
#[test]
fn a_flipped_bit_costs_one_record() {
    let lengths = [20, 90, 8, 30];
    let directory = filled(&lengths);
    let bytes = std::fs::read(&segments(directory.path())[0]).unwrap();
    for bit in 0..bytes.len() * 8 {
        let copy = copy(directory.path());
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&segments(copy.path())[0], bytes).unwrap();
        let (recovered, records) = found(copy.path());
        let lost = u64::from(bit >= 96 * 8);
        for (number, bytes) in numbers(&records).into_iter().zip(&records) {
            let length = lengths[usize::try_from(number).unwrap()];
            assert_eq!(*bytes, record(number, length).bytes, "bit {bit}");
        }
        assert!(numbers(&records).is_sorted_by(|a, b| a < b));
        let cut = u64::from(recovered.cut_tail_bytes > 0);
        assert_eq!(
            (recovered.records, recovered.damaged_records + cut),
            (4 - lost, lost),
            "bit {bit}"
        );
        // It is counted once.
        assert_eq!(found(copy.path()).0, Recovered::default());
    }
}

/// Damage that comes while the queue is open is found when the record is read.
#[test]
fn damage_is_found_when_reading() {
    let directory = filled(&[100, 200, 300, 400]);
    runtime().block_on(async {
        let (queue, recovered) = open(directory.path(), SMALL);
        assert_eq!(recovered.records, 4);
        let segment = &segments(directory.path())[0];
        let mut bytes = std::fs::read(segment).unwrap();
        bytes[96 + 140 + 60] ^= 1;
        std::fs::write(segment, &bytes[..bytes.len() - 1]).unwrap();
        let mut batch = queue.try_next(Lane::Live, &ALL).unwrap();
        let contents = queue.read(&mut batch).await.unwrap();
        assert_eq!(numbers(&contents.records), [0, 2]);
        assert_eq!((contents.damaged.records, contents.damaged.bytes), (2, 600));
        assert_eq!((batch.records, batch.items, batch.bytes), (2, 2, 400));
        assert_eq!(queue.counts().in_flight_items, 2);
        // What is good comes again, what is not does not.
        queue.release(batch);
        let mut batch = queue.try_next(Lane::Live, &ALL).unwrap();
        assert_eq!(numbers(&queue.read(&mut batch).await.unwrap().records), [0, 2]);
        std::fs::remove_file(segment).unwrap();
        let contents = queue.read(&mut batch).await.unwrap();
        assert_eq!((contents.records.len(), contents.damaged.records), (0, 2));
        assert!(queue.is_empty());
    });
}

/// Segments that cannot be read at all, and what lies between others.
#[test]
fn a_segment_without_a_header_is_counted() {
    let lengths = [3000; 9];
    let directory = super::directory();
    let small = Options { segment_bytes: 0, ..SMALL };
    runtime().block_on(async {
        let (queue, _) = open(directory.path(), small);
        for (number, length) in lengths.into_iter().enumerate() {
            queue.push(record(number as u64, length)).await.unwrap();
        }
        queue.flush().await.unwrap();
    });
    let count = segments(directory.path()).len();
    assert_eq!(count, 5);
    for (at, lost) in [(0, 2), (1, 2), (3, 2), (4, 1)] {
        let copy = copy(directory.path());
        let segment = &segments(copy.path())[at];
        let mut bytes = std::fs::read(segment).unwrap();
        bytes[..96].fill(0x55);
        std::fs::write(segment, bytes).unwrap();
        let (recovered, records) = found(copy.path());
        assert_eq!((records.len(), recovered.damaged_records), (9 - lost, lost as u64), "{at}");
        // A file that was deleted says nothing.
        let copy = super::copy(directory.path());
        std::fs::remove_file(&segments(copy.path())[at]).unwrap();
        let (recovered, records) = found(copy.path());
        assert_eq!((records.len(), recovered.damaged_records), (9 - lost, 0), "{at}");
    }
}

/// What looks like records within a record is not one, not even when the outer one is damaged.
#[test]
fn contents_do_not_pass_for_records() {
    let inner = filled(&[50, 60]);
    let segment = std::fs::read(&segments(inner.path())[0]).unwrap();
    let directory = super::directory();
    runtime().block_on(async {
        let (queue, _) = open(directory.path(), SMALL);
        queue.push(Record { bytes: segment.into(), ..record(0, 8) }).await.unwrap();
        queue.push(record(1, 8)).await.unwrap();
        queue.flush().await.unwrap();
    });
    let path = &segments(directory.path())[0];
    let mut bytes = std::fs::read(path).unwrap();
    bytes[96 + 4] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let (recovered, records) = found(directory.path());
    assert_eq!((numbers(&records), recovered.damaged_records), (vec![1], 1));
}

#[test]
fn another_version_is_refused_and_left_alone() {
    let directory = filled(&[20]);
    let segment = &segments(directory.path())[0];
    let mut bytes = std::fs::read(segment).unwrap();
    for at in [8, 56] {
        bytes[at] = 2;
    }
    std::fs::write(segment, &bytes).unwrap();
    let error = Queue::open(directory.path(), SMALL).unwrap_err();
    let words = error.to_string();
    assert!(
        words.ends_with("has version 2, and this program reads version 1; it is left as it is"),
        "{words}"
    );
    assert_eq!(std::fs::read(segment).unwrap(), bytes);
}

#[test]
fn a_directory_belongs_to_one_and_to_nobody_else() {
    let parent = super::directory();
    let directory = parent.path().join("a/b");
    runtime().block_on(async {
        let (queue, _) = open(&directory, SMALL);
        queue.push(record(0, 8)).await.unwrap();
        let error = Queue::open(&directory, SMALL).unwrap_err();
        assert!(error.to_string().starts_with("another process uses the queue in "), "{error}");
        queue.flush().await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        let names = ["lock", "cursor", "00000000000000000000.segment"];
        assert_eq!(names.map(|name| mode(&directory.join(name))), [0o600; 3]);
        drop(queue);
        assert_eq!(open(&directory, SMALL).1.records, 1);
    });
}

#[derive(Debug, Clone)]
enum Harm {
    Overwrite { at: usize, with: Vec<u8> },
    Move { from: usize, to: usize, length: usize },
    Cut(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<usize>(), prop::collection::vec(any::<u8>(), 1..60))
            .prop_map(|(at, with)| Harm::Overwrite { at, with }),
        (any::<usize>(), any::<usize>(), 1..500_usize).prop_map(|(from, to, length)| Harm::Move {
            from,
            to,
            length
        }),
        any::<usize>().prop_map(Harm::Cut),
    ]
}

fn do_harm(bytes: &mut Vec<u8>, harm: &Harm) {
    if bytes.is_empty() {
        return;
    }
    let size = bytes.len();
    match harm {
        Harm::Overwrite { at, with } => {
            for (offset, byte) in with.iter().enumerate() {
                bytes[(at % size + offset) % size] = *byte;
            }
        }
        Harm::Move { from, to, length } => {
            let from = from % size;
            let moved: Vec<u8> = bytes[from..(from + length).min(size)].to_vec();
            let to = to % size;
            bytes.splice(to..to, moved);
        }
        Harm::Cut(at) => bytes.truncate(at % size),
    }
}

/// Three segments and a cursor that knows numbers 0 and 3 as settled.
fn some_settled() -> &'static TempDir {
    static DIRECTORY: std::sync::OnceLock<TempDir> = std::sync::OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = super::directory();
        runtime().block_on(async {
            let (queue, _) = open(directory.path(), Options { segment_bytes: 0, ..SMALL });
            for number in 0..9 {
                queue.push(record(number, 1500)).await.unwrap();
            }
            let one = Want { max_bytes: 0, ..ALL };
            let mut batches: Vec<_> =
                (0..4).map(|_| queue.try_next(Lane::Live, &one).unwrap()).collect();
            queue.settle(batches.remove(3));
            queue.settle(batches.remove(0));
            queue.flush().await.unwrap();
        });
        directory
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever happened to the files: no wrong record, none twice, in order, and no more are missed
    /// than there were.
    #[test]
    fn any_harm(
        harms in prop::collection::vec((0..4_usize, harm()), 1..4),
    ) {
        let copy = copy(some_settled().path());
        let mut files = segments(copy.path());
        assert_eq!(files.len(), 3);
        files.push(copy.path().join("cursor"));
        for (file, harm) in &harms {
            let mut bytes = std::fs::read(&files[*file]).unwrap();
            do_harm(&mut bytes, harm);
            std::fs::write(&files[*file], bytes).unwrap();
        }
        let tried = super::copy(copy.path());
        if let Err(error) = Queue::open(tried.path(), SMALL) {
            prop_assert!(error.to_string().contains(" has version "), "{error}");
            return Ok(());
        }
        let (recovered, records) = found(copy.path());
        let numbers = numbers(&records);
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for (&number, bytes) in numbers.iter().zip(&records) {
            prop_assert_eq!(bytes, &record(number, 1500).bytes);
        }
        prop_assert!(recovered.records + recovered.damaged_records <= 9, "{recovered:?}");
        if !harms.iter().any(|(file, _)| *file == 3) {
            prop_assert!(!numbers.contains(&0) && !numbers.contains(&3), "{numbers:?}");
        }
    }
}
