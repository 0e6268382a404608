//! A real browser: headless Chromium, driven through chromedriver.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use fantoccini::Client;
use fantoccini::elements::Element;
use fantoccini::{ClientBuilder, Locator};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::process::scratch;

/// The longest time that a test waits for a page.
pub const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The limit of drivers in one test process: more of them only wait for each other.
static DRIVERS: Semaphore = Semaphore::const_new(2);
const FLAGS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    // Names of tests are this machine, and the others nowhere.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
];

/// Whether Chromium and its driver are installed. See [`have`](super::have).
pub fn have_browser() -> bool {
    super::have(&["chromium", "chromedriver"])
}

/// A chromedriver and the browsers that it has started. They end with it.
pub struct Browser {
    driver: Child,
    address: String,
    folder: PathBuf,
    windows: AtomicUsize,
    _permit: SemaphorePermit<'static>,
}

/// How a window is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub scripts: bool,
    pub dark: bool,
    /// 320 pixels, the narrowest that pages must work in (WCAG 1.4.10).
    pub narrow: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { scripts: true, dark: false, narrow: false }
    }
}

impl Browser {
    pub async fn start() -> Self {
        let permit = DRIVERS.acquire().await.unwrap();
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let nth = STARTED.fetch_add(1, Ordering::SeqCst);
        let folder = scratch(&format!("browser-{}-{nth}", std::process::id()));
        // Another process may take the free port that chromedriver has found before it listens there.
        let (driver, port) = (0..5).find_map(|_| start_driver(&folder)).expect("chromedriver ended before it listened");
        let address = format!("http://127.0.0.1:{port}");
        Self { driver, address, folder, windows: AtomicUsize::new(0), _permit: permit }
    }

    /// A browser with an empty profile.
    pub async fn window(&self) -> Client {
        self.window_as(Look::default()).await
    }

    pub async fn window_as(&self, look: Look) -> Client {
        let mut flags = vec!["--window-size=1000,900"];
        if look.dark {
            flags.push("--blink-settings=preferredColorScheme=0");
        }
        let mut options = json!({});
        if !look.scripts {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        if look.narrow {
            options["mobileEmulation"] =
                json!({ "deviceMetrics": { "width": 320, "height": 720, "pixelRatio": 2.0, "touch": false } });
        }
        self.open(&flags, options).await
    }

    /// One with these flags and preferences besides.
    pub async fn window_with(&self, flags: &[&str], preferences: Value) -> Client {
        self.open(&[&["--window-size=800,700"], flags].concat(), json!({ "prefs": preferences })).await
    }

    async fn open(&self, flags: &[&str], mut options: Value) -> Client {
        let profile = self.folder.join(self.windows.fetch_add(1, Ordering::SeqCst).to_string());
        let profile = format!("--user-data-dir={}", profile.display());
        options["args"] = FLAGS.iter().chain(flags).copied().chain([profile.as_str()]).collect();
        let capabilities = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.address)
            .await
            .unwrap()
    }

    /// What the browser has logged since it was asked last: violated policies, failed loads, messages of scripts.
    pub async fn log(&self, window: &Client) -> Vec<String> {
        let entries = self.command(window, "se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap();
        entries.iter().map(|entry| format!("{} {}", entry["level"], entry["message"].as_str().unwrap())).collect()
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, window: &Client, command: &str, parameters: Value) -> Value {
        self.command(window, "goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// A command that WebDriver's standard does not know.
    pub async fn command(&self, window: &Client, path: &str, body: Value) -> Value {
        let session = window.session_id().await.unwrap().unwrap();
        let url = format!("{}/session/{session}/{path}", self.address);
        let answer = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(answer["value"].get("error").is_none(), "{path}: {answer}");
        answer["value"].clone()
    }
}

/// Starts chromedriver, and returns it with its port once it listens.
#[allow(clippy::zombie_processes, reason = "the caller waits for it when it drops the browser")]
fn start_driver(folder: &Path) -> Option<(Child, String)> {
    // In a group of their own: a browser outlives a driver that is killed.
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        // The files of a killed browser are deleted with the folder.
        .env("TMPDIR", folder)
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            driver.wait().unwrap();
            return None;
        }
        if let Some((_, port)) = line.trim_end().trim_end_matches('.').split_once("started successfully on port ") {
            // Further output must not fill the pipe.
            std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
            return Some((driver, port.to_owned()));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Repeats `look` until it returns a value. Panics with a description of it after a time limit.
pub async fn until<T>(window: &Client, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        if Instant::now() > deadline {
            let url = window.current_url().await.map(|url| url.to_string());
            let page = window.source().await.unwrap_or_default();
            panic!("{what}: not found within the time limit\nat {url:?}\n{page}");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Waits until this expression of JavaScript is true.
pub async fn holds(window: &Client, condition: &str) {
    until(window, condition, async || {
        let result = window.execute(&format!("return Boolean({condition})"), vec![]).await;
        matches!(result, Ok(Value::Bool(true))).then_some(())
    })
    .await;
}

/// Waits for an element, which may be of a page that is still to come.
pub async fn element(window: &Client, css: &str) -> Element {
    until(window, css, async || window.find(Locator::Css(css)).await.ok()).await
}

/// The first element of this kind, once it is there to be seen.
pub async fn see(window: &Client, css: &str) -> Element {
    until(window, css, async || {
        let element = window.find(Locator::Css(css)).await.ok()?;
        element.is_displayed().await.ok()?.then_some(element)
    })
    .await
}

/// Waits until the element's text holds this one, and returns all of it.
pub async fn text(window: &Client, css: &str, part: &str) -> String {
    until(window, &format!("{part:?} in {css}"), async || {
        // Between finding and reading, the page may have changed.
        let text = window.find(Locator::Css(css)).await.ok()?.text().await.ok()?;
        text.contains(part).then_some(text)
    })
    .await
}

/// Waits until this text is to be read on the page.
pub async fn read(window: &Client, part: &str) {
    text(window, "body", part).await;
}

/// Waits until the browser is at this path.
pub async fn until_path(window: &Client, path: &str) {
    until(window, path, async || (window.current_url().await.ok()?.path() == path).then_some(())).await;
}

/// Types into a box, in place of what is in it.
pub async fn fill(window: &Client, css: &str, text: &str) {
    let element = see(window, css).await;
    element.clear().await.unwrap();
    element.send_keys(text).await.unwrap();
}

pub async fn click(window: &Client, css: &str) {
    see(window, css).await.click().await.unwrap();
}

/// The result of a script on the page.
pub async fn ask(window: &Client, script: &str) -> Value {
    window.execute(script, vec![]).await.unwrap()
}

/// Keeps what the window shows under `target/screenshots/`, for people to look at.
pub async fn screenshot(window: &Client, name: &str) -> PathBuf {
    keep(name, &window.screenshot().await.unwrap())
}

pub fn keep(name: &str, picture: &[u8]) -> PathBuf {
    let folder = super::target_dir().join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{name}.png"));
    std::fs::write(&file, picture).unwrap();
    file
}
