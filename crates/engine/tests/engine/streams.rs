//! What comes out: tokens, bytes, pieces, scores, and why it ended.

use ds4_engine::sampling::{Report, TokenMask};
use ds4_engine::{
    FinishReason, Grammar, Output, Request, Sampling, SamplingFields, Scoring, Structure,
    end_of_turn,
};
use ds4_prompt::dsml::{Begin, Reading, Tools};
use ds4_prompt::{Piece, TokenId};

use crate::rig::{Made, TOKENIZER, VOCAB, engine, greedy, greedy_tokens, noise};

fn reading(stops: &[&str]) -> Option<Reading> {
    Some(Reading {
        begin: Begin::Text,
        tools: Tools::Inactive,
        stops: stops.iter().map(|&stop| stop.to_owned()).collect(),
        ..Reading::default()
    })
}

/// Samples plenty of different bytes.
fn hot(seed: u64) -> Sampling {
    let fields = SamplingFields {
        temperature: 5.0,
        seed,
        ..SamplingFields::default()
    };
    Sampling::new(fields).unwrap()
}

/// A grammar that dictates a text, token by token.
struct Dictate(Vec<u32>);

impl Grammar for Dictate {
    fn allow(&mut self, mask: &mut TokenMask) {
        mask.allow(self.0[0]);
    }

    fn accept(&mut self, token: u32) {
        assert_eq!(token, self.0.remove(0));
    }
}

fn dictate(text: &str) -> (Option<Box<dyn Grammar>>, u32) {
    let ids = TOKENIZER.encode_with_added(text);
    let ids: Vec<u32> = ids.into_iter().map(|TokenId(id)| id).collect();
    let count = ids.len() as u32;
    (Some(Box::new(Dictate(ids))), count)
}

/// Text, thoughts, calls and the end of a stream.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    thought: String,
    text: String,
    calls: Vec<(String, String)>,
    tokens: usize,
    reason: Option<String>,
}

fn hear(request: Request) -> Heard {
    let engine = engine();
    let session = engine.session().unwrap();
    let mut heard = Heard::default();
    for output in session.generate(request).unwrap() {
        match output {
            Output::Piece(Piece::Thought(part)) => heard.thought.push_str(&part),
            Output::Piece(Piece::Text(part)) => heard.text.push_str(&part),
            Output::Piece(Piece::CallStart { name, .. }) => {
                heard.calls.push((name.into_owned(), String::new()));
            }
            Output::Piece(Piece::CallArgs { json, .. }) => {
                heard.calls.last_mut().unwrap().1.push_str(&json);
            }
            Output::Piece(Piece::CallEnd { .. }) => {}
            Output::Piece(Piece::Done(done)) => {
                assert!(heard.reason.is_none(), "one end");
                heard.reason = Some(format!("{:?}", done.finish));
            }
            Output::Token(_) => heard.tokens += 1,
            Output::Finish(_) | Output::Progress(_) | Output::Score(_) => {}
        }
    }
    heard
}

#[test]
fn pieces_are_the_decoded_bytes_however_characters_are_cut() {
    for seed in 0..3 {
        let request = || Request::tokens(noise(seed, 5), 120, hot(seed));
        let engine = engine();
        let session = engine.session().unwrap();
        let made = Made::collect(session.generate(request()).unwrap());
        let ids: Vec<TokenId> = made.tokens.iter().map(|&id| TokenId(id)).collect();
        let heard = hear(Request {
            reading: reading(&[]),
            ..request()
        });
        assert_eq!(heard.text, TOKENIZER.decode(&ids));
        assert_eq!(heard.reason.as_deref(), Some("Length"));
    }
}

#[test]
fn a_stop_string_ends_the_turn_and_is_not_shown() {
    let (grammar, _) = dictate("The end. Never said");
    let heard = hear(Request {
        reading: reading(&["nothing", "end. "]),
        grammar,
        ..Request::tokens(noise(1, 4), 100, greedy())
    });
    assert_eq!(heard.text, "The ");
    assert_eq!(heard.reason.as_deref(), Some("StopString { index: 1 }"));
    assert!(heard.tokens < 19, "it stops where the match is complete");
}

#[test]
fn a_tool_call_is_read_and_ends_the_turn() {
    let call = "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"look\">\n\
        <｜DSML｜parameter name=\"at\" string=\"true\">the sky</｜DSML｜parameter>\n\
        </｜DSML｜invoke>\n</｜DSML｜tool_calls>";
    let (grammar, count) = dictate(&format!("Let me see.</think>So:\n\n{call} and more"));
    let heard = hear(Request {
        reading: Some(Reading {
            begin: Begin::Reasoning,
            ..Reading::default()
        }),
        structure: Structure::Greedy,
        grammar,
        ..Request::tokens(noise(2, 4), count, hot(1))
    });
    assert_eq!((&*heard.thought, &*heard.text), ("Let me see.", "So:"));
    let expected = ("look".to_owned(), "{\"at\":\"the sky\"}".to_owned());
    assert_eq!(heard.calls, [expected]);
    assert_eq!(heard.reason.as_deref(), Some("ToolCalls"));
    assert!((heard.tokens as u32) < count);
}

#[test]
fn the_end_of_a_turn_is_not_shown() {
    let (grammar, _) = dictate("Yes<｜end▁of▁sentence｜>");
    let prompt = noise(3, 4);
    let heard = hear(Request {
        grammar,
        ..Request::chat(prompt, 50, greedy(), Reading::default(), &TOKENIZER)
    });
    assert_eq!(heard.text, "Yes");
    assert_eq!(heard.reason.as_deref(), Some("Stop"));
    assert!(end_of_turn(&TOKENIZER).len() >= 4);
}

#[test]
fn a_mask_without_tokens_is_an_error_that_says_so() {
    struct Nothing;
    impl Grammar for Nothing {
        fn allow(&mut self, _: &mut TokenMask) {}
        fn accept(&mut self, _: u32) {}
    }
    let engine = engine();
    let session = engine.session().unwrap();
    let request = Request {
        grammar: Some(Box::new(Nothing)),
        ..Request::tokens(noise(4, 4), 5, greedy())
    };
    let made = Made::collect(session.generate(request).unwrap());
    let Some(FinishReason::Error(error)) = made.reason else {
        panic!("{:?}", made.reason);
    };
    assert!(error.to_string().contains("allows none of the 512 tokens"));
    // The prompt is still good.
    assert_eq!(greedy_tokens(&session, &noise(4, 4), 3).tokens.len(), 3);
}

/// Scoring a text gives each token the log-probability it has when it is decoded after the same
/// beginning.
#[test]
fn scores_are_what_decoding_reports() {
    let engine = engine();
    let prompt = noise(5, 30);
    let session = engine.session().unwrap();
    let fields = SamplingFields {
        report: Report::Logprobs(20),
        ..Sampling::greedy().fields().clone()
    };
    let request = Request::tokens(prompt.clone(), 12, Sampling::new(fields).unwrap());
    let made = Made::collect(session.generate(request).unwrap());
    let mut text = prompt;
    text.extend(&made.tokens);

    let request = Request {
        scoring: Scoring::Prompt { top: 20 },
        ..Request::tokens(text.clone(), 0, greedy())
    };
    let mut scores = Vec::new();
    for output in session.generate(request).unwrap() {
        match output {
            Output::Score(score) => scores.push(score),
            Output::Token(_) => panic!("nothing was to be generated"),
            _ => {}
        }
    }
    assert_eq!(scores.len(), text.len() - 1);
    for (at, score) in (1..).zip(&scores) {
        assert_eq!((score.at, score.token.token), (at, text[at as usize]));
    }
    for (score, top) in scores[29..].iter().zip(&made.tops) {
        // Greedy: the token is the likeliest.
        assert!((score.token.logprob - top[0].1).abs() < 5e-4);
        assert!((score.top.as_slice()[0].logprob - top[0].1).abs() < 5e-4);
        assert_eq!(score.top.as_slice().len(), 20.min(VOCAB));
    }
}

#[test]
fn frontiers_are_kept_at_cuts() {
    let engine = engine();
    let session = engine.session().unwrap();
    let prompt = noise(6, 300);
    let request = Request {
        cuts: vec![37, 128, 299],
        ..Request::tokens(prompt.clone(), 4, greedy())
    };
    let made = Made::collect(session.generate(request).unwrap());
    let status = session.status().unwrap();
    assert_eq!(status.kept, [37, 128, 299]);
    assert!(status.frontier_bytes > 0 && status.pages.own > 0);
    // The same question again computes one token; another question after the same beginning, what
    // is new in it.
    let again = greedy_tokens(&session, &prompt, 4);
    assert_eq!(again.usage.cached_tokens, 299);
    again.assert_close(&made);
    let mut other = prompt[..128].to_vec();
    other.extend(noise(7, 50));
    assert_eq!(greedy_tokens(&session, &other, 1).usage.cached_tokens, 128);
}
