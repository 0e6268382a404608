//! Chromium, driven through `chromedriver`, for tests of pages.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::common::have;

/// How long a page may take to become what a test expects.
pub const DEADLINE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Browsers of a test's process at once.
static BROWSERS: Semaphore = Semaphore::const_new(2);

/// `chromedriver`, and the browsers that it has started; they end with the test.
pub struct Browser {
    driver: Child,
    port: u16,
    _place: SemaphorePermit<'static>,
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

/// Whether there is a browser to test with; if not, the test says so and is over.
pub fn have_browser() -> bool {
    have(&["chromium", "chromedriver"])
}

impl Browser {
    pub async fn start() -> Self {
        let place = BROWSERS.acquire().await.unwrap();
        let mut driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(driver.stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "chromedriver ended before it listened");
            if let Some((_, after)) = line.split_once("started successfully on port ") {
                break after.trim().trim_end_matches('.').parse().unwrap();
            }
        };
        // What it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { driver, port, _place: place }
    }

    /// A window of a browser of its own, with nothing in it that another one has left.
    pub async fn window(&self) -> Client {
        self.window_as(Look::default()).await
    }

    pub async fn window_as(&self, look: Look) -> Client {
        let mut args = vec![
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1000,900",
        ];
        if look.dark {
            args.push("--blink-settings=preferredColorScheme=0");
        }
        let mut options = json!({ "args": args });
        if !look.scripts {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        if look.narrow {
            options["mobileEmulation"] =
                json!({ "deviceMetrics": { "width": 320, "height": 720, "pixelRatio": 2.0, "touch": false } });
        }
        let capabilities = json!({ "goog:chromeOptions": options }).as_object().unwrap().clone();
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities);
        builder.connect(&format!("http://127.0.0.1:{}", self.port)).await.unwrap()
    }
}

impl Drop for Browser {
    /// Asks the driver to end its browsers, which a kill would leave behind.
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
            let _ = stream.read(&mut [0; 1024]);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.driver.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK_AGAIN);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Keeps what is seen, for people to look at.
pub async fn screenshot(client: &Client, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), client.screenshot().await.unwrap()).unwrap();
}

/// Waits until `what` is so.
pub async fn until<F: Future<Output = Option<T>>, T>(client: &Client, what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        if Instant::now() > deadline {
            let place = client.current_url().await.map(|url| url.to_string());
            let page = client.source().await.unwrap_or_default();
            panic!("not in time: {what}\nat {place:?}\n{page}");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The first element of this kind, once it is there to be seen.
pub async fn see(client: &Client, css: &str) -> Element {
    until(client, css, || async {
        let element = client.find(Locator::Css(css)).await.ok()?;
        element.is_displayed().await.ok()?.then_some(element)
    })
    .await
}

/// Waits until this text is to be read on the page.
pub async fn read(client: &Client, text: &str) {
    until(client, text, || async {
        let body = client.find(Locator::Css("body")).await.ok()?.text().await.ok()?;
        body.contains(text).then_some(())
    })
    .await;
}

/// Waits until the browser is at this path.
pub async fn at(client: &Client, path: &str) {
    until(client, path, || async { (client.current_url().await.ok()?.path() == path).then_some(()) }).await;
}

/// Types into a box, in place of what is in it.
pub async fn fill(client: &Client, css: &str, text: &str) {
    let element = see(client, css).await;
    element.clear().await.unwrap();
    element.send_keys(text).await.unwrap();
}

pub async fn click(client: &Client, css: &str) {
    see(client, css).await.click().await.unwrap();
}

/// What a script says of the page.
pub async fn ask(client: &Client, script: &str) -> Value {
    client.execute(script, vec![]).await.unwrap()
}
