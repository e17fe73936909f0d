//! A run's numbers as TensorBoard reads them: event files beside `metrics.jsonl`, which stays what a run is resumed and
//! reported from. A record is a length, its checksum, an `Event`, and that one's checksum (TFRecord); of the `Event`, a
//! protobuf, five fields are needed. The crates for it bring a protobuf compiler, an image library, or both.
//!
//! Each process writes a file of its own, as TensorBoard's readers expect: one that looks at a file while it is written
//! never goes back in it. Its first events say from which step on earlier points no longer hold.

use super::{Evaluation, points};
use crate::error::{Error, Result};
use crate::metrics::StepReport;
use crate::platform::{Native, append, names_in, read, write_atomic};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Around a file's number. TensorBoard reads files with `tfevents` in their names, in the order of these.
const NAME: (&str, &str) = ("events.out.tfevents.", ".srft");
/// What a file begins with: the version says that points go only where the first events say so.
const VERSION: &str = "brain.Event:2";

/// The file that this process writes.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    /// What could not be written yet.
    pending: Vec<u8>,
    is_told: bool,
    _native: Native,
}

/// The files of a run with their numbers, the earliest first.
pub fn files(folder: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let number = |name: &String| name.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?.parse().ok();
    let names = names_in(folder)?;
    let mut found: Vec<(u32, PathBuf)> =
        names.iter().filter_map(|name| Some((number(name)?, folder.join(name)))).collect();
    found.sort();
    Ok(found)
}

/// Cuts a run's files back to `step`, by whole records; a broken one goes with all that follows it. Returns the steps of
/// the points that are left: once for a step's, and once for an evaluation's.
pub fn rewind(folder: &Path, step: u32, _: Native) -> Result<Vec<u32>> {
    let mut left = Vec::new();
    for (_, path) in files(folder)? {
        let bytes = read(&path)?;
        let (mut kept, mut rest) = (Vec::new(), &bytes[..]);
        while let Some((event, after)) = record(rest) {
            let (at, has_points) = described(event).unwrap_or_default();
            if at <= u64::from(step) {
                kept.extend_from_slice(&rest[..rest.len() - after.len()]);
                left.extend(u32::try_from(at).ok().filter(|_| has_points));
            }
            rest = after;
        }
        if kept != bytes {
            write_atomic(&path, &kept)?;
        }
    }
    Ok(left)
}

impl Events {
    /// Begins a file in a run's folder; points of steps from `step` on that a reader saw before hold no longer.
    pub fn begin(folder: &Path, step: u32, native: Native) -> Result<Self> {
        let number = files(folder)?.last().map_or(1, |(last, _)| last + 1);
        let path = folder.join(format!("{}{number:06}{}", NAME.0, NAME.1));
        let mut events = Self { path, pending: Vec::new(), is_told: false, _native: native };
        let start = [0x08, 1]; // of a SessionLog: its status is START
        for (step, what) in [(0, field(3, VERSION.as_bytes())), (step, field(7, &start))] {
            events.pending.extend(as_record(&event(now(), step.into(), &what)));
        }
        events.write()?;
        Ok(events)
    }

    /// Writes what a step reports. Where that fails, says so once: the run does not end for it, and the points are written
    /// with later ones.
    pub fn step(&mut self, report: &StepReport) -> Option<String> {
        self.points(report.step, points::of_step(report))
    }

    /// The same for an evaluation.
    pub fn evaluation(&mut self, evaluation: &Evaluation) -> Option<String> {
        let mut points = points::of_scores(&evaluation.scores);
        points.push(("time/eval_secs".into(), evaluation.eval_secs));
        self.points(evaluation.step, points)
    }

    fn points(&mut self, step: u32, points: Vec<(String, f64)>) -> Option<String> {
        let points = points.into_iter().map(|(tag, value)| (tag, value as f32));
        let values: Vec<u8> = points
            .filter(|(_, value)| value.is_finite())
            .flat_map(|(tag, value)| {
                let mut point = field(1, tag.as_bytes());
                point.push(0x15); // field 2, simple_value
                point.extend(value.to_le_bytes());
                field(1, &point)
            })
            .collect();
        let record = as_record(&event(now(), step.into(), &field(5, &values)));
        self.pending.extend(record);
        let failed = self.write().err().filter(|_| !self.is_told);
        self.is_told |= failed.is_some();
        failed.map(|Error { what, place, .. }| {
            let place = place.unwrap_or_default();
            format!("nothing is written for TensorBoard: {place}: {what}; metrics.jsonl has every number")
        })
    }

    fn write(&mut self) -> Result<()> {
        append(&self.path, &self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// An `Event`: its time, its step, and what else it has.
fn event(wall_secs: f64, step: u64, what: &[u8]) -> Vec<u8> {
    let mut event = vec![0x09]; // field 1, eight bytes
    event.extend(wall_secs.to_le_bytes());
    event.push(0x10); // field 2, a number
    number(step, &mut event);
    event.extend_from_slice(what);
    event
}

/// Protobuf's field of bytes, a text or a message.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2];
    number(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    field
}

/// Protobuf's whole number: seven bits a byte, the lowest first.
fn number(mut value: u64, to: &mut Vec<u8>) {
    while value > 127 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// TFRecord's checksum: CRC-32C, turned and shifted, since the data may hold checksums too.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn as_record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length, &masked(&length)[..], event, &masked(event)].concat()
}

/// Splits the first record off: its event, and the bytes after it. `None` where the record is cut short or damaged.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    if *sum != masked(length) || size > rest.len() {
        return None;
    }
    let (event, rest) = rest.split_at(size);
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    (*sum == masked(event)).then_some((event, rest))
}

/// An event's step, and whether it has points.
fn described(mut event: &[u8]) -> Option<(u64, bool)> {
    let read_number = |bytes: &mut &[u8]| {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 128 {
                return Some(value);
            }
            shift += 7;
        }
    };
    let (mut step, mut is_summary) = (0, false);
    while !event.is_empty() {
        let key = read_number(&mut event)?;
        match key & 7 {
            0 => {
                let value = read_number(&mut event)?;
                step = if key >> 3 == 2 { value } else { step };
            }
            1 => event = event.get(8..)?,
            2 => {
                let length = usize::try_from(read_number(&mut event)?).ok()?;
                event = event.get(length..)?;
                is_summary |= key >> 3 == 5;
            }
            5 => event = event.get(4..)?,
            _ => return None,
        }
    }
    Some((step, is_summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::device::select;
    use crate::platform::NATIVE;
    use crate::run::Run;
    use pollster::block_on;
    use std::fs;

    /// Step, tag and value of every point in a run's files, in their order.
    fn points(folder: &Path) -> Vec<(u64, String, f32)> {
        /// A message's fields, and what they hold.
        fn fields(mut message: &[u8]) -> Vec<(u8, &[u8])> {
            let mut found = Vec::new();
            while let [key, rest @ ..] = message {
                let size = match key & 7 {
                    0 => 1 + rest.iter().take_while(|b| **b > 127).count(),
                    1 => 8,
                    5 => 4,
                    _ if rest[0] > 127 => {
                        let size = usize::from(rest[0] & 127) + usize::from(rest[1]) * 128;
                        found.push((key >> 3, &rest[2..2 + size]));
                        message = &rest[2 + size..];
                        continue;
                    }
                    _ => 1 + usize::from(rest[0]),
                };
                found.push((key >> 3, &rest[usize::from(key & 7 == 2)..size]));
                message = &rest[size..];
            }
            found
        }
        let mut points = Vec::new();
        for (_, path) in files(folder).unwrap() {
            let bytes = fs::read(path).unwrap();
            let mut rest = &bytes[..];
            while let Some((event, after)) = record(rest) {
                let step = described(event).unwrap().0;
                for (_, summary) in fields(event).iter().filter(|(tag, _)| *tag == 5) {
                    points.extend(fields(summary).into_iter().map(|(_, point)| {
                        let [(1, tag), (2, value)] = fields(point)[..] else { panic!("{point:?}") };
                        let value = f32::from_le_bytes(value.try_into().unwrap());
                        (step, String::from_utf8(tag.to_vec()).unwrap(), value)
                    }));
                }
                rest = after;
            }
            assert_eq!(rest, b"", "whole records");
        }
        points
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, B.4, and the check value of CRC-32C.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    /// Written by tensorboard 2.21: EventFileWriter's RecordWriter over Event(wall_time=1.5, step=300,
    /// summary=Summary(value=[Summary.Value(tag="a", simple_value=0.25)])).SerializeToString().
    #[test]
    fn a_record_has_the_bytes_of_tensorboards_own() {
        let mut point = field(1, b"a");
        point.extend([0x15, 0, 0, 0x80, 0x3e]);
        let record = as_record(&event(1.5, 300, &field(5, &field(1, &point))));
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "1800000000000000a37f4b2209000000000000f83f10ac022a0a0a080a0161150000803eb4fa9511"
        );
    }

    #[test]
    fn numbers_have_sections_and_what_is_no_number_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        let mut events = Events::begin(home.path(), 0, NATIVE.unwrap()).unwrap();
        let report = StepReport {
            step: 200,
            loss: f64::NAN,
            loss_kl: 1e300,
            reward: Some(-0.5),
            rewards: [("short".to_string(), 0.75)].into(),
            train_secs: 2.0,
            ..StepReport::default()
        };
        assert_eq!(events.step(&report), None);
        let found = points(home.path());
        let value = |tag: &str| found.iter().find(|p| p.1 == tag).map(|p| p.2);
        for (tag, expected) in [
            ("loss/loss", None),    // not a number
            ("loss/loss_kl", None), // larger than the file can hold
            ("loss/loss_sft", Some(0.0)),
            ("reward/reward", Some(-0.5)),
            ("reward/rewards/short", Some(0.75)),
            ("reward/accuracy", None), // nothing was judged
            ("time/train_secs", Some(2.0)),
            ("train/lr", Some(0.0)),
            ("rollout/unscored", Some(0.0)),
            ("rollout/step", None),
        ] {
            assert_eq!(value(tag), expected, "{tag}");
        }
        assert!(found.iter().all(|point| point.0 == 200));
    }

    #[test]
    fn a_run_that_is_taken_up_shows_each_point_once() {
        let home = tempfile::tempdir().unwrap();
        let selected = block_on(select("cpu")).unwrap();
        let config = |watched: bool| {
            let settings = [
                "train.steps=4",
                "rollout.prompts=1",
                "rollout.group=2",
                "rollout.max_new_tokens=2",
                "eval.examples=1",
                "eval.every=2",
                "checkpoint.every=2",
                &format!("run.tensorboard={watched}"),
            ]
            .map(|setting| Config::setting(setting).unwrap());
            Config::resolve(&settings).unwrap()
        };
        let [whole, killed, late] = ["whole", "killed", "late"].map(|name| home.path().join(name));
        let finish = |mut run: Run| {
            while !run.is_done() {
                block_on(run.advance(&mut ())).unwrap();
            }
            block_on(run.finish(&mut ())).unwrap();
        };
        let begin = |path: &Path, watched: bool, steps: u32| {
            let mut run = Run::create(config(watched), &selected, path).unwrap();
            block_on(run.begin(&mut ())).unwrap();
            (0..steps).for_each(|_| drop(block_on(run.advance(&mut ())).unwrap()));
            run
        };
        let resumed = |path: &Path| Run::resume(config(true), &selected, path).unwrap();
        let values = |path: &Path| {
            let mut points = points(path);
            points.retain(|(_, tag, _)| !tag.ends_with("_secs"));
            points
        };
        finish(begin(&whole, true, 0));
        let expected = values(&whole);
        let of = |tag: &str| -> Vec<u64> {
            expected.iter().filter(|p| p.1 == tag).map(|p| p.0).collect()
        };
        assert_eq!(of("loss/loss"), [1, 2, 3, 4]);
        assert_eq!(of("eval/add/accuracy"), [0, 2, 4]);
        assert_eq!(of("eval/accuracy_ood"), [0, 2, 4]);

        drop(begin(&killed, true, 3)); // as by kill -9: the third step is in the files, and not saved
        let (_, first) = files(&killed).unwrap().remove(0);
        append(&first, &[7; 9]).unwrap();
        drop(resumed(&killed));
        // A machine that crashed lost what was written last.
        let bytes = fs::read(&first).unwrap();
        fs::write(&first, &bytes[..bytes.len() - 1]).unwrap();
        finish(resumed(&killed));
        let mut found = values(&killed);
        found.sort_by_key(|point| point.0);
        assert_eq!(found, expected);

        drop(begin(&late, false, 2));
        assert!(files(&late).unwrap().is_empty());
        finish(resumed(&late));
        let mut found = values(&late);
        found.sort_by_key(|point| point.0);
        assert_eq!(found, expected, "also what came before it was watched");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_once_and_loses_no_point() {
        let home = tempfile::tempdir().unwrap();
        let mut events = Events::begin(home.path(), 0, NATIVE.unwrap()).unwrap();
        let path = std::mem::replace(&mut events.path, "/dev/full".into());
        let report = |step| StepReport { step, ..StepReport::default() };
        let told = events.step(&report(1)).unwrap();
        assert!(told.contains("/dev/full: No space left"), "{told}");
        assert_eq!(events.step(&report(2)), None);
        events.path = path;
        assert_eq!(events.step(&report(3)), None);
        let found = points(home.path());
        let steps: Vec<u64> = found.iter().filter(|p| p.1 == "loss/loss").map(|p| p.0).collect();
        assert_eq!(steps, [1, 2, 3]);
        let error = Events::begin(&home.path().join("none"), 0, NATIVE.unwrap()).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
