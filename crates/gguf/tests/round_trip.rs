//! What the writer writes, the reader reads back: random metadata, tensors, alignments, sharing.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows tests by their attribute only"
)]

use std::ops::ControlFlow;

use ds4_gguf::write::{MetadataBuf, Plan, TensorSpec, ValueBuf, Writer};
use ds4_gguf::{Error, Format, Gguf, Value, ValueType};
use proptest::prelude::*;

fn scalar() -> impl Strategy<Value = ValueBuf> {
    prop_oneof![
        any::<u8>().prop_map(ValueBuf::U8),
        any::<i8>().prop_map(ValueBuf::I8),
        any::<u16>().prop_map(ValueBuf::U16),
        any::<i16>().prop_map(ValueBuf::I16),
        any::<u32>().prop_map(ValueBuf::U32),
        any::<i32>().prop_map(ValueBuf::I32),
        any::<f32>().prop_map(ValueBuf::F32),
        any::<bool>().prop_map(ValueBuf::Bool),
        ".{0,12}".prop_map(ValueBuf::Str),
        any::<u64>().prop_map(ValueBuf::U64),
        any::<i64>().prop_map(ValueBuf::I64),
        any::<f64>().prop_map(ValueBuf::F64),
    ]
}

fn list() -> impl Strategy<Value = ValueBuf> {
    let word = prop::collection::vec(".{0,6}", 0..9);
    prop_oneof![
        word.clone().prop_map(ValueBuf::from),
        prop::collection::vec(any::<i32>(), 0..9).prop_map(ValueBuf::from),
        prop::collection::vec(any::<f32>(), 0..9).prop_map(ValueBuf::from),
        prop::collection::vec(any::<bool>(), 0..9).prop_map(ValueBuf::from),
        prop::collection::vec(word, 0..4).prop_map(|lists| {
            ValueBuf::Array(
                ValueType::Array,
                lists.into_iter().map(ValueBuf::from).collect(),
            )
        }),
    ]
}

fn metadata() -> impl Strategy<Value = MetadataBuf> {
    let value = prop_oneof![3 => scalar(), 1 => list()];
    prop::collection::vec(("[a-z.]{0,10}", value), 0..12).prop_map(|entries| {
        let mut metadata = MetadataBuf::new();
        entries
            .into_iter()
            .for_each(|(key, value)| metadata.set(key, value));
        metadata
    })
}

/// Dimensions whose rows are whole blocks of any format.
fn dims() -> impl Strategy<Value = Vec<u64>> {
    (1..3u64, prop::collection::vec(1..4u64, 0..4))
        .prop_map(|(blocks, outer)| std::iter::once(256 * blocks).chain(outer).collect())
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(Format::all().collect::<Vec<_>>())
}

/// Tensors `t0`, `t1`, …; every second one that is marked shares the payload of a first.
fn specs() -> impl Strategy<Value = Vec<TensorSpec>> {
    prop::collection::vec((dims(), format(), any::<bool>()), 0..8).prop_map(|all| {
        let mut specs = Vec::new();
        for (index, (dims, format, shared)) in all.into_iter().enumerate() {
            specs.push(TensorSpec::new(format!("t{index}"), &dims, format));
            if shared {
                let twin = TensorSpec::new(format!("twin{index}"), &dims, format);
                specs.push(twin.sharing(format!("t{index}")));
            }
        }
        specs
    })
}

fn fill(name: &str, bytes: u64) -> Vec<u8> {
    let start = name
        .bytes()
        .fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    (0..bytes).map(|at| start.wrapping_add(at as u8)).collect()
}

fn write(plan: Plan) -> Vec<u8> {
    let mut writer = Writer::to_memory(plan);
    let due: Vec<_> = writer.plan().payloads().cloned().collect();
    for tensor in due {
        let bytes = fill(&tensor.name, tensor.bytes);
        let half = bytes.len() / 2;
        let put = writer.stream(&tensor.name, |sink| {
            sink.put(&bytes[..half])?;
            sink.put(&bytes[half..])
        });
        put.unwrap();
    }
    writer.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_file_reads_back_as_planned(
        mut metadata in metadata(), specs in specs(), alignment in 0..9u32,
    ) {
        metadata.set("general.alignment", 1u32 << alignment);
        let plan = Plan::new(&metadata, &specs).unwrap();
        let planned = plan.clone();
        let bytes = write(plan);
        prop_assert_eq!(bytes.len() as u64, planned.file_bytes());

        let gguf = Gguf::from_bytes("memory", bytes).unwrap();
        prop_assert_eq!(MetadataBuf::from(gguf.metadata()), metadata.clone());
        prop_assert_eq!(gguf.tensors(), planned.tensors());
        prop_assert_eq!(gguf.data_start(), planned.data_start());
        prop_assert_eq!(gguf.alignment(), 1 << alignment);
        for tensor in gguf.tensors() {
            let owner = tensor.name.replace("twin", "t");
            prop_assert_eq!(&*gguf.payload(tensor), &*fill(&owner, tensor.bytes));
            prop_assert_eq!(gguf.tensor(&tensor.name), Some(tensor));
        }
        for (key, _) in metadata.iter() {
            prop_assert!(gguf.metadata().get(key).is_some());
        }
        let twins = specs.len() - planned.payloads().len();
        prop_assert_eq!(gguf.aliases().count(), twins);
    }
}

fn example() -> Plan {
    let mut metadata = MetadataBuf::new();
    metadata.set(
        "tokens",
        vec!["a".to_owned(), "ＡΩ".to_owned(), String::new()],
    );
    metadata.set("ratios", vec![0i32, 4, 128]);
    metadata.set("clamp", vec![10f32, -0.5]);
    metadata.set("wide", u64::MAX);
    metadata.set("count", 7u8);
    metadata.set("eps", 1e-6f32);
    let specs = [
        TensorSpec::new("a", &[5], Format::I8),
        TensorSpec::new("b", &[256, 2], Format::Iq2Xxs),
        TensorSpec::new("c", &[256, 2], Format::Iq2Xxs).sharing("b"),
    ];
    Plan::new(&metadata, &specs).unwrap()
}

#[test]
fn values_convert_between_widths_when_they_fit() {
    let gguf = Gguf::from_bytes("example", write(example())).unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.u64("count").unwrap(), 7);
    assert_eq!(metadata.u32("count").unwrap(), 7);
    assert_eq!(metadata.u64("wide").unwrap(), u64::MAX);
    assert_eq!(metadata.f32("eps").unwrap(), 1e-6);
    let tokens = metadata.array("tokens").unwrap();
    assert_eq!((tokens.len(), tokens.item_type()), (3, ValueType::Str));
    assert_eq!(tokens.strs().unwrap().collect::<Vec<_>>(), ["a", "ＡΩ", ""]);
    assert!(tokens.i64s().is_none() && tokens.f64s().is_none());
    let ratios = metadata.array("ratios").unwrap();
    assert_eq!(ratios.i64s().unwrap().collect::<Vec<_>>(), [0, 4, 128]);
    let clamp = metadata.array("clamp").unwrap();
    assert_eq!(clamp.f64s().unwrap().collect::<Vec<_>>(), [10.0, -0.5]);
    assert!(matches!(metadata.get("count"), Some(Value::U8(7))));
    assert!(metadata.get("absent").is_none());

    let error = metadata.u32("wide").unwrap_err().to_string();
    assert_eq!(
        error,
        "example: metadata key \"wide\" is the u64 18446744073709551615; \
         an unsigned 32-bit integer expected"
    );
    let error = metadata.bool("absent").unwrap_err().to_string();
    assert_eq!(
        error,
        "example: metadata key \"absent\" is missing; a bool expected"
    );
}

#[test]
fn the_writer_takes_each_payload_once_in_order_and_whole() {
    let text = |result: Result<(), Error>| result.unwrap_err().to_string();
    let mut writer = Writer::to_memory(example());
    assert_eq!(
        text(writer.payload("b", &[])),
        "(memory): \"b\" written where \"a\" was due"
    );
    assert_eq!(
        text(writer.payload("a", &[0; 6])),
        "(memory): tensor \"a\" takes 5 bytes, got 6"
    );
    writer.payload("a", &[0; 5]).unwrap();
    writer.payload("b", &[0; 132]).unwrap();
    assert_eq!(
        text(writer.payload("c", &[0; 132])),
        "(memory): \"c\" written where nothing more was due"
    );
    assert_eq!(
        writer.finish().unwrap().len() as u64,
        example().file_bytes()
    );

    let mut writer = Writer::to_memory(example());
    assert_eq!(
        text(writer.payload("a", &[0; 4])),
        "(memory): tensor \"a\" takes 5 bytes, got 4"
    );
    assert_eq!(
        text(writer.payload("a", &[0; 5])),
        "(memory): \"a\" written where nothing, after an error, was due"
    );
    assert!(writer.finish().is_err());
}

#[test]
fn plans_refuse_what_the_reader_would_refuse() {
    let refuse = |metadata: &MetadataBuf, specs: &[TensorSpec], wanted: &str| {
        assert_eq!(Plan::new(metadata, specs).unwrap_err().to_string(), wanted);
    };
    let none = MetadataBuf::new();
    let spec = |dims: &[u64], format| TensorSpec::new("x", dims, format);
    refuse(
        &none,
        &[spec(&[4], Format::F32), spec(&[4], Format::F32)],
        "cannot write: tensor \"x\": appears twice, as number 0 and number 1",
    );
    refuse(
        &none,
        &[spec(&[100], Format::Q2K)],
        "cannot write: tensor \"x\": rows of 100 values are not whole Q2_K blocks of 256",
    );
    refuse(
        &none,
        &[spec(&[u64::MAX - 1, 2], Format::F32)],
        "cannot write: tensor \"x\": dimensions [18446744073709551614, 2] in F32 overflow 64 bits",
    );
    refuse(
        &none,
        &[spec(&[], Format::F32)],
        "cannot write: tensor \"x\": 0 dimensions; 1 to 4 are possible",
    );
    refuse(
        &none,
        &[
            spec(&[4], Format::F32),
            TensorSpec::new("y", &[2], Format::F32).sharing("x"),
        ],
        "cannot write: tensor \"y\": cannot share the payload of \"x\": \
         no earlier tensor of that name with 8 bytes of F32",
    );
    let mut odd = MetadataBuf::new();
    odd.set("general.alignment", 48u32);
    refuse(
        &odd,
        &[],
        "cannot write: metadata key \"general.alignment\": alignment 48; \
         it must be a power of two of at most 2097152",
    );
    let mut mixed = MetadataBuf::new();
    mixed.set(
        "m",
        ValueBuf::Array(ValueType::U8, vec![1u8.into(), 2u16.into()]),
    );
    refuse(
        &mixed,
        &[],
        "cannot write: metadata key \"m\": an array of u8 holds a u16",
    );
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let names = || {
        let all = std::fs::read_dir(folder.path()).unwrap();
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>()
    };

    let mut calls = Vec::new();
    let mut writer = Writer::create(&path, example())
        .unwrap()
        .on_progress(|done, total| {
            calls.push((done, total));
            ControlFlow::Continue(())
        });
    writer.payload("a", &[1; 5]).unwrap();
    assert!(
        names().iter().all(|name| name.ends_with(".part")),
        "{:?}",
        names()
    );
    writer.payload("b", &[2; 132]).unwrap();
    writer.finish().unwrap();
    assert_eq!(names(), ["model.gguf"]);
    let total = example().file_bytes();
    assert_eq!(calls.last(), Some(&(total, total)));
    assert!(calls.is_sorted());
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(*gguf.payload(gguf.tensor("c").unwrap()), [2; 132]);

    let mut writer = Writer::create(&path, example()).unwrap();
    writer.payload("a", &[3; 5]).unwrap();
    drop(writer);
    let mut writer = Writer::create(&path, example())
        .unwrap()
        .on_progress(|_, _| ControlFlow::Break(()));
    let error = writer.payload("a", &[3; 5]).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    drop(writer);
    assert_eq!(names(), ["model.gguf"], "unfinished files are removed");
    gguf.check().expect("the older file is untouched");
    assert_eq!(*gguf.payload(gguf.tensor("a").unwrap()), [1; 5]);
}

#[test]
fn a_file_that_cannot_fit_is_refused_before_a_byte_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.gguf");
    let spec = TensorSpec::new("huge", &[1 << 50], Format::F32);
    let plan = Plan::new(&MetadataBuf::new(), &[spec]).unwrap();
    let needed = plan.file_bytes();
    let error = Writer::create(&path, plan)
        .err()
        .expect("no disk holds 4 PiB");
    let Error::NoSpace {
        path: named,
        needed: wanted,
        available,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((named, *wanted), (&path, needed));
    assert!(*available > 0 && *available < needed);
    assert!(
        error
            .to_string()
            .contains(&format!("{needed} bytes needed, {available} available"))
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
