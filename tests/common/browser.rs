//! A real browser: headless Chromium, driven through chromedriver.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

/// How long a page may take to become what a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=800,700",
];

/// A chromedriver and the browsers that it has started. They end with it.
pub struct Browser {
    driver: Child,
    address: String,
    folder: PathBuf,
    windows: AtomicUsize,
}

impl Browser {
    /// None, and a message, where there is no browser.
    pub async fn start() -> Option<Self> {
        if !super::have(&["chromium", "chromedriver"]) {
            return None;
        }
        // In a group of their own: a browser outlives a driver that is killed.
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap());
        let port = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "chromedriver ended before it listened");
            if let Some((_, port)) = line.trim_end().trim_end_matches('.').split_once("started successfully on port ") {
                break port.to_owned();
            }
        };
        // What is printed later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("browser-{}", driver.id()));
        Some(Self { driver, address: format!("http://127.0.0.1:{port}"), folder, windows: AtomicUsize::new(0) })
    }

    /// A browser with an empty profile.
    pub async fn window(&self) -> Client {
        self.window_with(&[], json!({})).await
    }

    /// The same, with these flags and preferences besides.
    pub async fn window_with(&self, flags: &[&str], preferences: Value) -> Client {
        let profile = self.folder.join(self.windows.fetch_add(1, Ordering::SeqCst).to_string());
        let profile = format!("--user-data-dir={}", profile.display());
        let flags: Vec<&str> = FLAGS.iter().chain(flags).copied().chain([profile.as_str()]).collect();
        let capabilities = json!({
            "goog:chromeOptions": { "args": flags, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.address)
            .await
            .unwrap()
    }

    /// What the browser has logged since it was asked last: violated policies, failed loads, messages of scripts.
    pub async fn log(&self, window: &Client) -> Vec<String> {
        let answer = self.command(window, "se/log", json!({ "type": "browser" })).await;
        let entries = answer["value"].as_array().unwrap();
        entries.iter().map(|entry| format!("{} {}", entry["level"], entry["message"].as_str().unwrap())).collect()
    }

    /// A command that WebDriver's standard does not know.
    pub async fn command(&self, window: &Client, path: &str, body: Value) -> Value {
        let session = window.session_id().await.unwrap().unwrap();
        let url = format!("{}/session/{session}/{path}", self.address);
        let answer = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Looks again until there is something, and says what was looked for when there is not in time.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for an element, which may be of a page that is still to come.
pub async fn element(window: &Client, css: &str) -> Element {
    until(css, async || window.find(Locator::Css(css)).await.ok()).await
}

/// Waits until the element's text holds this one, and returns all of it.
pub async fn text(window: &Client, css: &str, part: &str) -> String {
    let mut last = String::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        // Between finding and reading, the page may have changed.
        if let Ok(element) = window.find(Locator::Css(css)).await
            && let Ok(text) = element.text().await
        {
            if text.contains(part) {
                return text;
            }
            last = text;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain for {part:?} in {css}; it says {last:?}");
}

/// Writes what the window shows to `target/screenshots/`.
pub async fn screenshot(window: &Client, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), window.screenshot().await.unwrap()).unwrap();
}
