//! Random memory in the place of a long prompt: sound, the same for the same seed, and on.

use ds4_engine::EngineError;
use ds4_engine::error::RequestError;

use crate::rig::{Made, engine_with, exact, greedy_tokens, noise, options, packed};

/// What is generated after a filled context, and the session's bytes.
fn continued(cpu: ds4_cpu::Options, tokens: usize, seed: u64) -> (Made, Vec<u8>) {
    let engine = engine_with(cpu, options());
    let mut prompt = noise(7, tokens);
    let session = engine.fill(prompt.clone(), seed).unwrap();
    let bytes = session.snapshot().unwrap();
    prompt.push(3);
    let made = greedy_tokens(&session, &prompt, 6);
    assert_eq!(
        made.usage.cached_tokens as usize, tokens,
        "nothing was computed again"
    );
    (made, bytes)
}

#[test]
fn decoding_goes_on_after_random_rows_of_either_format() {
    for cpu in [packed(), exact()] {
        for tokens in [1, 17, 512, 1300] {
            let (made, bytes) = continued(cpu.clone(), tokens, 5);
            assert_eq!(made.tokens.len(), 6);
            let logprobs = made.tops.iter().flatten().map(|top| top.1);
            assert!(logprobs.clone().all(f32::is_finite), "{tokens} tokens");
            let (again, same) = continued(cpu.clone(), tokens, 5);
            made.assert_same(&again);
            assert_eq!(bytes, same);
            let (_, other) = continued(cpu.clone(), tokens, 6);
            assert_ne!(bytes, other, "another seed, another memory");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_the_pages_free() {
    let engine = engine_with(
        ds4_cpu::Options {
            pages: 2,
            ..packed()
        },
        options(),
    );
    let free = engine.status().unwrap().free_bytes;
    let refused = engine.fill(noise(1, 1025), 1);
    assert!(
        matches!(refused, Err(EngineError::Admission(_))),
        "{refused:?}"
    );
    let refused = engine.fill(noise(1, 4096), 1);
    let too_long = RequestError::Context {
        prompt: 4096,
        context: 4096,
    };
    match refused {
        Err(EngineError::Request(error)) => assert_eq!(error, too_long),
        other => panic!("{other:?}"),
    }
    assert!(engine.fill(Vec::new(), 1).is_err());
    assert!(engine.fill(vec![512], 1).is_err(), "the vocabulary has 512");
    assert_eq!(engine.status().unwrap().free_bytes, free);
}
