//! The server under test.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{Engine, Options, Store, load_cpu};
use ds4_gguf::Gguf;
use ds4_model::Recipe;
use ds4_model::synthetic::{Synthetic, tiny};
use ds4_prompt::Tokenizer;
use ds4_server::{Config, Loading, Model, Script, Server};
use serde_json::Value;

use crate::client::{Client, Reply};

static FILE: LazyLock<Gguf> = LazyLock::new(|| {
    Synthetic::reference(tiny(), 1, Recipe::FLOAT)
        .model()
        .unwrap()
});
static TOKENIZER: LazyLock<Arc<Tokenizer>> =
    LazyLock::new(|| Arc::new(Tokenizer::from_gguf(&FILE).unwrap()));

/// Tokens of context.
pub(crate) const CONTEXT: usize = 4096;

/// A server on a free port of this machine. Dropping it stops it.
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) log: Log,
    loading: Loading,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<bool>>,
}

/// What the server logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The first line with all these words, which may be a moment away.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &[&str]) -> String {
        let found = until(|| {
            let text = self.text();
            let mut lines = text.lines();
            let line = lines.find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned)
        });
        found.unwrap_or_else(|| panic!("no {words:?} in {}", self.text()))
    }
}

/// What `look` finds within a while.
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        match look() {
            None if begun.elapsed() < Duration::from_secs(30) => {
                thread::sleep(Duration::from_millis(10));
            }
            found => return found,
        }
    }
}

/// An engine of its own: as many slots as asked for.
pub(crate) fn engine(slots: usize) -> Engine {
    engine_with(slots, None)
}

/// The same, with a place on disk for what is computed.
pub(crate) fn engine_with(slots: usize, store: Option<Store>) -> Engine {
    let options = Options {
        store,
        ..Options::default()
    };
    engine_in(slots, 48, options)
}

/// The same in so many pages, as the options say otherwise.
pub(crate) fn engine_in(slots: usize, pages: usize, options: Options) -> Engine {
    let cpu = CpuOptions {
        threads: 1,
        slots,
        pages,
        max_rows: 96,
        max_outputs: 8,
        ..CpuOptions::default()
    };
    let options = Options {
        context: CONTEXT,
        ..options
    };
    let machine = Box::new(load_cpu(&FILE, cpu).unwrap());
    Engine::start(machine, Some(Arc::clone(&TOKENIZER)), options).unwrap()
}

pub(crate) fn config() -> Config {
    Config {
        address: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    }
}

/// A server whose model says this to every prompt that ends so, and noise to others.
pub(crate) fn saying(lines: &'static [(&'static str, &'static str)]) -> Rig {
    Rig::with(Config {
        script: Some(script(lines)),
        ..config()
    })
}

pub(crate) fn script(lines: &'static [(&'static str, &'static str)]) -> Script {
    Script::new(move |prompt| {
        let line = lines.iter().find(|(end, _)| prompt.ends_with(end));
        line.map(|(_, text)| (*text).to_owned())
    })
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::over(engine(3), config)
    }

    pub(crate) fn over(engine: Engine, config: Config) -> Self {
        let rig = Self::unloaded(engine, config);
        rig.load();
        rig
    }

    /// A server whose model is not there yet.
    pub(crate) fn unloaded(engine: Engine, config: Config) -> Self {
        let log = Log::default();
        let server = Server::bind(config, Box::new(log.clone())).unwrap();
        let (address, loading) = (server.address(), server.loading());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || server.run(&stopped).unwrap());
        Self {
            address,
            engine,
            log,
            loading,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn load(&self) {
        let model = Model::new(self.engine.clone(), "Noise 1").unwrap();
        self.loading.ready(model);
    }

    pub(crate) fn loading(&self) -> &Loading {
        &self.loading
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        let mut client = self.client();
        client.send("GET", path, &[], "");
        client.reply()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_text(path, &[], &body.to_string())
    }

    pub(crate) fn post_text(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut client = self.client();
        client.send("POST", path, headers, body);
        client.reply()
    }

    /// Asks the server to stop, as a signal does.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops it. Whether everything under way came to its end.
    pub(crate) fn end(mut self) -> bool {
        self.stop();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits until nothing runs any more.
    #[track_caller]
    pub(crate) fn wait_idle(&self) {
        let idle = until(|| {
            let status = self.engine.status().unwrap();
            (status.running == 0 && status.waiting == 0).then_some(())
        });
        assert!(idle.is_some(), "{:?}", self.engine.status());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}
