//! The socket at which `lab step` asks for steps, while a command runs.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use bondlab_core::net::name::NsName;
use bondlab_core::plan::record::Record;
use bondlab_core::plan::stepping::{REQUEST_BYTES_MAX, STEP_SOCKET, StepReply, StepRequest};
use bondlab_core::topology::scenario::Socket;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::runtime::Runtime;

use crate::agent::stepper::{StepError, Stepper};
use crate::exec::{root, set_answers_pings};

/// Between two looks at what has arrived and was dropped, in ms.
const KEEP_UP_INTERVAL_MS: u16 = 500;
/// A client that says nothing, or reads nothing, is left alone after this.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the socket, in the command's root file system.
pub(crate) fn open() -> io::Result<UnixListener> {
    let path = root::inside(STEP_SOCKET);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    UnixListener::bind(&path)
}

/// Answers until `ended` is at its end.
pub(crate) fn serve(
    stepper: &mut Stepper<'_>,
    runtime: &Runtime,
    listener: &UnixListener,
    ended: &UnixStream,
) {
    loop {
        let mut fds = [listener.as_fd(), ended.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::from(KEEP_UP_INTERVAL_MS)) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Without a way to wait there are no steps; the command goes on.
            Err(_) => return,
        }
        let [asked, over] = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        if over {
            return;
        }
        stepper.keep_up();
        if asked && let Ok((client, _)) = listener.accept() {
            // What a client asked for is carried out even if it ends before the answer; then there is nobody to answer.
            let _ = answer(stepper, runtime, &client);
        }
    }
}

fn answer(stepper: &mut Stepper<'_>, runtime: &Runtime, client: &UnixStream) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    client.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(client.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let request: StepRequest = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => return say(client, &StepReply::Refused { why: format!("no request: {error}") }),
    };
    let begin = StepReply::Begin {
        stepping: Box::new(stepper.stepping().clone()),
        done: number(stepper.steps_done()),
        has_ended: stepper.has_ended(),
        release: fs::read_to_string(Path::new("/proc/sys/kernel/osrelease"))?.trim().to_owned(),
    };
    say(client, &begin)?;
    let done = match request {
        StepRequest::List => Ok(()),
        StepRequest::Next { count } => runtime.block_on(next(stepper, count, client)),
    };
    if let Err(error) = done {
        return say(client, &StepReply::Refused { why: error.to_string() });
    }
    match runtime.block_on(stepper.account()) {
        Ok(records) => {
            let (done, is_final) = (number(stepper.ops_done()), stepper.has_ended());
            say(client, &StepReply::Account { done, records, is_final })
        }
        Err(error) => say(client, &StepReply::Refused { why: error.to_string() }),
    }
}

async fn next(stepper: &mut Stepper<'_>, count: u32, client: &UnixStream) -> Result<(), StepError> {
    let sends_pings = stepper.stepping().plan.flows.iter().any(|plan| plan.flow.socket == Socket::Ping);
    if sends_pings {
        // A reply has the payload of the request, and would be taken for it where it is dropped.
        all_answer_pings(stepper, false)?;
    }
    let carried_out = carry_out(stepper, count, client).await;
    if sends_pings {
        all_answer_pings(stepper, true)?;
    }
    carried_out
}

async fn carry_out(stepper: &mut Stepper<'_>, count: u32, client: &UnixStream) -> Result<(), StepError> {
    let mut tell = |record: &Record| match record {
        Record::Sent { .. } | Record::Waited { .. } | Record::OpFailed { .. } | Record::Attempted { .. } => {
            say(client, &StepReply::Record(record.clone()))
        }
        _ => Ok(()),
    };
    stepper.begin(&mut tell).await?;
    for _ in 0..count {
        if stepper.has_ended() {
            break;
        }
        // Who asked may be gone; the step is carried out in any case.
        let _ = say(client, &StepReply::Step { step: number(stepper.steps_done()) });
        stepper.step(&mut tell).await?;
    }
    Ok(())
}

fn all_answer_pings(stepper: &Stepper<'_>, on: bool) -> Result<(), StepError> {
    let set = |(_, namespace): (&NsName, _)| set_answers_pings(namespace, on);
    let set: Result<(), String> = stepper.bed().namespaces.iter().try_for_each(set);
    set.map_err(|error| StepError::Socket(io::Error::other(error)))
}

fn say(mut client: &UnixStream, reply: &StepReply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    client.write_all(&line)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
