//! What a fuzzer does with arbitrary bytes. Shared with the target in `fuzz/`; it needs nothing
//! but the crate.

use ds4_server::request_prompt;

/// Where the dialects are spoken.
const PATHS: [&str; 4] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
];

/// A body becomes a prompt or a refusal with a reason, the same every time, and no text in it opens
/// more turns than it has messages.
///
/// The first byte chooses the dialect.
pub(crate) fn requests(bytes: &[u8]) {
    let Some((&choice, body)) = bytes.split_first() else {
        return;
    };
    let path = PATHS[usize::from(choice) % PATHS.len()];
    let body = String::from_utf8_lossy(body);
    let prompt = request_prompt(path, &body);
    assert_eq!(prompt, request_prompt(path, &body));
    match prompt {
        Err(problem) => assert!(!problem.is_empty()),
        Ok(control) => {
            // Every turn is a message, an item or a block, and each of those is an object or text.
            let most = body.matches(['{', '"']).count() + 1;
            assert!(control.matches("<｜User｜>").count() <= most, "{control}");
        }
    }
}
