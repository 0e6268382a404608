//! A server with Redis' protocol, whose replies the test chooses.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::redis::Redis;

/// What the fake server does about one command.
#[derive(Clone, Debug)]
pub enum Do {
    Reply(Vec<u8>),
    ReplyAndCut(Vec<u8>),
    Hang,
}

type Script = dyn Fn(&[String]) -> Do + Send + Sync;

/// A server whose replies the test chooses.
pub struct Fake {
    pub url: String,
    script: Arc<Mutex<Arc<Script>>>,
    pub connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Fake {
    pub fn new(script: impl Fn(&[String]) -> Do + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            url: format!("redis://{}", listener.local_addr().unwrap()),
            script: Arc::new(Mutex::new(Arc::new(script))),
            connections: Arc::default(),
            over: Arc::default(),
        };
        let (script, connections, over) = (fake.script.clone(), fake.connections.clone(), fake.over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                let script = script.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &script));
            }
        });
        fake
    }

    pub fn now(&self, script: impl Fn(&[String]) -> Do + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.strip_prefix("redis://").unwrap());
    }
}

fn serve(mut stream: TcpStream, script: &Mutex<Arc<Script>>) {
    let mut read = std::io::BufReader::new(stream.try_clone().unwrap());
    while let Some(command) = command(&mut read) {
        let script = script.lock().unwrap().clone();
        match script(&command) {
            Do::Reply(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Do::ReplyAndCut(bytes) => {
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            Do::Hang => {}
        }
    }
}

fn command(read: &mut impl std::io::BufRead) -> Option<Vec<String>> {
    let mut line = || {
        let mut line = String::new();
        (read.read_line(&mut line).ok()? > 0).then(|| line[1..].trim().to_owned())
    };
    let words: usize = line()?.parse().ok()?;
    (0..words)
        .map(|_| {
            let mut line = String::new();
            read.read_line(&mut line).ok()?;
            let mut bytes = vec![0; line[1..].trim().parse::<usize>().ok()? + 2];
            read.read_exact(&mut bytes).ok()?;
            bytes.truncate(bytes.len() - 2);
            Some(String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect()
}

pub const HELLO: &[u8] = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n";

/// The arguments of a script call: the operation, the number of the call, and the operation's arguments. The script's
/// name, the number of keys, and the keys come before them.
pub fn arguments(command: &[String]) -> &[String] {
    let keys: usize = command[2].parse().unwrap();
    &command[3 + keys..]
}

/// The reply of a server without faults to `record_step` of a fresh step.
pub fn fresh(command: &[String]) -> Vec<u8> {
    answer(command, "fresh")
}

/// An answer of one word.
pub fn answer(command: &[String], word: &str) -> Vec<u8> {
    let number = &arguments(command)[1];
    format!("*2\r\n${}\r\n{number}\r\n${}\r\n{word}\r\n", number.len(), word.len()).into_bytes()
}

/// A sound server, but for the script's answers.
pub fn sound(answer: impl Fn(&[String]) -> Do) -> impl Fn(&[String]) -> Do {
    move |command| if command[0] == "HELLO" { Do::Reply(HELLO.to_vec()) } else { answer(command) }
}

pub fn good(command: &[String]) -> Do {
    sound(|command| Do::Reply(fresh(command)))(command)
}

/// What a real server answers to this command, as it does over the wire.
pub fn real(redis: &Redis, command: &[String]) -> Vec<u8> {
    match ::redis::cmd(&command[0]).arg(&command[1..]).query(&mut redis.connection()) {
        Ok(value) => wire(&value),
        Err(error) => format!("-{} {}\r\n", error.code().unwrap_or("ERR"), error.detail().unwrap_or("")).into_bytes(),
    }
}

fn wire(value: &::redis::Value) -> Vec<u8> {
    match value {
        ::redis::Value::Array(items) => {
            let mut bytes = format!("*{}\r\n", items.len()).into_bytes();
            bytes.extend(items.iter().flat_map(wire));
            bytes
        }
        ::redis::Value::BulkString(text) => [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat(),
        ::redis::Value::Int(number) => format!(":{number}\r\n").into_bytes(),
        other => panic!("the script never answers {other:?}"),
    }
}
