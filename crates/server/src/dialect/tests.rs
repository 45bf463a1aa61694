//! Every recorded request becomes the recorded prompt.

use std::path::Path;

use ds4_prompt::Generation;
use ds4_prompt::json::{Grammar, Value, parse};

use super::Dialect;
use crate::ask::Serving;
use crate::config::Config;
use crate::fields::Fields;
use crate::memory::Memory;
use crate::prepare::prompt_of;

fn cases() -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prompt/tests/data");
    let text = std::fs::read_to_string(folder.join("api-requests.json")).unwrap();
    parse(&text, Grammar::Python).unwrap()
}

#[test]
fn recorded_requests_become_the_recorded_prompts() {
    let cases = cases();
    let Some(Value::Array(cases)) = cases.get("cases") else {
        panic!("no cases");
    };
    let config = Config::default();
    let serving = Serving {
        generation: Generation::April,
        context: 1 << 20,
        is_thinking: true,
    };
    let mut checked = 0;
    for case in cases {
        let text = |field: &str| case.get(field).and_then(Value::as_str).unwrap();
        let dialect = match text("endpoint") {
            "/v1/chat/completions" => Dialect::Chat,
            "/v1/messages" => Dialect::Messages,
            "/v1/responses" => Dialect::Responses,
            other => panic!("{other}"),
        };
        let body = Fields::root(case.get("body").unwrap()).unwrap();
        let ask = dialect.read(&body, serving, &config.limits, Memory::NONE);
        let ask = ask.unwrap_or_else(|error| panic!("{}: {error:?}", text("id")));
        let prompt = prompt_of(Generation::April, &config, &ask).unwrap();
        assert_eq!(prompt.text(), text("prompt"), "{}", text("id"));
        checked += 1;
    }
    assert_eq!(checked, 38);
}
