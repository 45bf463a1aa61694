//! Commands published for the original program.

use std::process::Command;

use crate::command::{Home, model, ran};

#[test]
fn published_commands_find_the_customary_file() {
    let home = Home::new();
    std::os::unix::fs::symlink(model(), home.file("ds4flash.gguf")).unwrap();
    for line in [
        "-p Hello -n 3 -t 1",
        "-p Hello --tokens 3 --ctx 4096 --nothink --temp 0 -t 1 --power 100",
        "--think-max -p Hello -n 2 -t 1 --quality --warm-weights --cpu",
        "--inspect",
        "-p Hello --dump-tokens",
    ] {
        let ran = home.run(line);
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        assert!(
            ran.err.contains("using ./ds4flash.gguf"),
            "{line}: {}",
            ran.err
        );
    }
    let ran = home.run("-p Hello --dump-logits logits.json -t 1 --cpu");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let logits = std::fs::read_to_string(home.file("logits.json")).unwrap();
    let logits: serde_json::Value = serde_json::from_str(&logits).unwrap();
    let all = logits["logits"].as_array().unwrap();
    assert_eq!(logits["vocab"].as_u64(), Some(all.len() as u64));
    // The likeliest token is the one that is written.
    let ran = home.run("-p Hello --dump-logprobs tokens.json -n 1 -t 1 --cpu");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let tokens = std::fs::read_to_string(home.file("tokens.json")).unwrap();
    let tokens: serde_json::Value = serde_json::from_str(&tokens).unwrap();
    let best = &logits["argmax_token"]["id"];
    assert_eq!(*best, tokens["steps"][0]["selected"]["id"]);
    assert_eq!(logits["argmax_logit"], all[best.as_u64().unwrap() as usize]);
    assert_eq!(logits["prompt_tokens"], tokens["prompt_tokens"]);
    assert_eq!(logits["quant_bits"], 2);
    std::fs::write(home.file("text.txt"), "Some words to be scored.").unwrap();
    let ran = home.run("--perplexity-file text.txt -t 1");
    assert!(ran.out.starts_with("perplexity "), "{}{}", ran.out, ran.err);
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let home = Home::new();
    for line in [
        "--power 60 -p Hello",
        "--mtp draft.gguf --mtp-draft 2 -p Hello",
        "--role worker --layers 21:output",
        "--dir-steering-file dir.bin",
        "--metal -p Hello",
    ] {
        let ran = home.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line}");
        let option = line.split(' ').next().unwrap();
        let expected = format!("error: ds4: {option}: ");
        assert!(ran.err.starts_with(&expected), "{line}: {}", ran.err);
        assert!(ran.err.contains("hint: "), "{line}: {}", ran.err);
    }
}

#[test]
fn links_are_told_apart_by_their_names() {
    let home = Home::new();
    std::fs::create_dir(home.file("bin")).unwrap();
    // Twice: links of an older program give way.
    for _ in 0..2 {
        let ran = home.run("companions install bin");
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let eval = ran(Command::new(home.file("bin/ds4-eval")).current_dir(home.path()));
    assert_eq!(eval.code, 2);
    assert!(eval.err.contains("ds4-eval: "), "{}", eval.err);
    std::fs::remove_file(home.file("bin/ds4-eval")).unwrap();
    std::fs::write(home.file("bin/ds4-eval"), "somebody's own").unwrap();
    let ran = home.run("companions install bin");
    assert_eq!(ran.code, 1, "a file that is no link stays");
    assert!(ran.err.contains("bin/ds4-eval"), "{}", ran.err);
}
