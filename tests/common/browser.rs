//! A real browser, driven through the WebDriver protocol.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long a page may take for what it should do.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Whether there is a browser; without one the test is over.
pub fn have_browser() -> bool {
    super::have(&["chromium", "chromedriver"])
}

/// ChromeDriver, and the browsers that it has started. All of them end with it.
pub struct Browser {
    driver: Child,
    port: u16,
    profiles: PathBuf,
}

impl Browser {
    pub async fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chromium-{}-{number}", std::process::id());
        let profiles = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&profiles).unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap());
        let (mut line, mut port) = (String::new(), None);
        while port.is_none() {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "chromedriver ended before it listened");
            let after = line.split_once("started successfully on port ").map(|(_, after)| after);
            port = after.map(|after| after.trim().trim_end_matches('.').parse().unwrap());
        }
        // What it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { driver, port: port.unwrap(), profiles }
    }

    /// A new browser, with a profile of its own.
    pub async fn window(&self) -> Client {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let profile = self.profiles.join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        let capabilities = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
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
                "--window-size=420,900",
                format!("--user-data-dir={}", profile.display()),
            ] },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities).connect(&format!("http://127.0.0.1:{}", self.port)).await.unwrap()
    }

    async fn post(&self, client: &Client, path: &str, body: Value) -> Value {
        let session = client.session_id().await.unwrap().unwrap();
        let url = format!("http://127.0.0.1:{}/session/{session}/{path}", self.port);
        let answer = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["value"].get("error").is_none(), "{path}: {answer}");
        answer["value"].clone()
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, client: &Client, command: &str, parameters: Value) -> Value {
        self.post(client, "goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// What the console has said since the last time.
    pub async fn console(&self, client: &Client) -> Vec<String> {
        let log = self.post(client, "se/log", json!({ "type": "browser" })).await;
        log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The processes of the browsers, by the profiles that only they have.
    fn processes(&self) -> Vec<String> {
        let ours = format!("--user-data-dir={}", self.profiles.display());
        let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
        all.flatten()
            .filter(|process| {
                std::fs::read(process.path().join("cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&ours))
            })
            .map(|process| process.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it ends its browsers, too.
        if let Ok(mut connection) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = connection.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = write!(connection, "GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port);
            let _ = connection.read(&mut [0; 512]);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.driver.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        for process in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &process]).status();
        }
        let _ = std::fs::remove_dir_all(&self.profiles);
    }
}

/// Keeps a picture of the page under `target/screenshots/`, for people to look at.
pub async fn screenshot(client: &Client, name: &str) -> PathBuf {
    keep(name, &client.screenshot().await.unwrap())
}

pub fn keep(name: &str, picture: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{name}.png"));
    std::fs::write(&file, picture).unwrap();
    file
}

/// Waits until this expression of JavaScript is true.
pub async fn until(client: &Client, condition: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = client.execute(&format!("return Boolean({condition})"), vec![]).await;
        if matches!(said, Ok(Value::Bool(true))) {
            return;
        }
        if Instant::now() > deadline {
            let page = client.execute("return document.body?.innerText", vec![]).await;
            panic!("not within {PATIENCE:?}: {condition}\n{said:?}\nThe page says: {page:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
