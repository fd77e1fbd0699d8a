//! Chromium without a screen, spoken to by WebDriver (https://www.w3.org/TR/webdriver2/).

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use inflight::kernel::tools;
use serde_json::{Value, json};

/// No answer takes so long.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A browser with a session. It ends with this.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

/// What a test needs that this machine has not; said so, past the capture of output.
pub fn is_missing() -> bool {
    let lacks = ["chromium", "chromedriver"].map(|it| tools::find(it).is_none());
    if lacks == [false, false] {
        return false;
    }
    let mut stderr = fs::File::options().append(true).open("/dev/stderr").ok();
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    if let Some(stderr) = &mut stderr {
        let _ = writeln!(
            stderr,
            "skipped {name}: no chromium, or no chromedriver\n  remedy: apt-get install -y \
             --no-install-recommends chromium chromium-driver"
        );
    }
    true
}

impl Browser {
    /// A window of that width.
    pub fn new(width: u32, height: u32, dark: bool) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        // It must never wait for somebody who reads.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Browser {
            driver,
            port: port.expect("chromedriver names its port"),
            session: String::new(),
            _profile: profile,
        };
        let folder = browser._profile.path().display();
        let args = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            format!("--user-data-dir={folder}"),
        ]);
        let metrics =
            json!({ "width": width, "height": height, "pixelRatio": 1, "mobile": width < 600 });
        let options = json!({ "args": args, "mobileEmulation": { "deviceMetrics": metrics } });
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let made = browser.post("/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
        browser
    }

    /// Opens a page that stands in a file.
    pub fn open(&self, file: &Path) {
        self.command(
            "url",
            &json!({ "url": format!("file://{}", file.display()) }),
        );
    }

    /// What a script returns.
    pub fn ask(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Presses a key: `\u{e004}` is Tab, `\u{e015}` the down arrow.
    pub fn press(&self, key: &str) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let source = json!({ "type": "key", "id": "keys", "actions": keys });
        self.command("actions", &json!({ "actions": [source] }));
    }

    /// The whole page as a PNG.
    pub fn screenshot(&self, file: &Path) {
        let shot = self.devtools(
            "Page.captureScreenshot",
            json!({ "format": "png", "captureBeyondViewport": true }),
        );
        let data = shot["data"].as_str().expect("an image");
        fs::write(file, base64(data)).unwrap();
    }

    fn devtools(&self, command: &str, params: Value) -> Value {
        self.command(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": params }),
        )
    }

    fn command(&self, name: &str, body: &Value) -> Value {
        self.post(&format!("/session/{}/{name}", self.session), body)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let value = self.request("POST", path, &body.to_string()).unwrap();
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }

    fn request(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut len = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                len = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        // The connection may stay open.
        let mut answer = vec![0; len];
        reader.read_exact(&mut answer)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is a child of the driver, which closes it.
        let _ = self.request("DELETE", &format!("/session/{}", self.session), "");
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | u32::from(value(byte));
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
