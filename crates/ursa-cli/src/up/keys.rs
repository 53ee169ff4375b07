//! Single key presses, without Enter.

use std::io::{IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// Listens to the keyboard; the terminal is as before once this is dropped.
#[derive(Debug)]
pub(crate) struct Keys {
    before: Option<Termios>,
    pressed: mpsc::Receiver<u8>,
}

impl Keys {
    /// Begins to listen, if standard input is a terminal. Ctrl-C stays a signal.
    pub(crate) fn listen() -> Self {
        let (sender, pressed) = mpsc::channel(8);
        let stdin = std::io::stdin();
        let before = if stdin.is_terminal() { tcgetattr(stdin.as_fd()).ok() } else { None };
        if let Some(before) = &before {
            let mut now = before.clone();
            now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            if tcsetattr(stdin.as_fd(), OptionalActions::Now, &now).is_ok() {
                // Reading a terminal cannot be cancelled: the thread ends with the process.
                std::thread::spawn(move || {
                    let mut key = [0_u8; 1];
                    while matches!(std::io::stdin().read(&mut key), Ok(1)) {
                        if sender.blocking_send(key[0]).is_err() {
                            return;
                        }
                    }
                });
            }
        }
        Self { before, pressed }
    }

    /// Waits for `q`; for ever, where there is no keyboard.
    pub(crate) async fn quit(&mut self) {
        while let Some(key) = self.pressed.recv().await {
            if key.eq_ignore_ascii_case(&b'q') {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let stdin = std::io::stdin();
        let restored = self
            .before
            .as_ref()
            .map(|before| tcsetattr(stdin.as_fd(), OptionalActions::Now, before));
        if let Some(Err(error)) = restored {
            tracing::debug!(%error, "the terminal is gone");
        }
    }
}
