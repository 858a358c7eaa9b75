//! `lab capture`: what this machine's network shows, as one text.

use std::path::PathBuf;
use std::process::ExitCode;

use bondlab_core::capture::{SCRIPT, TEXT_BYTES_MAX, mask};
use bondlab_host::{capture as read, file};
use clap::Args;

use crate::cli::failure::Failure;

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab capture > node.txt && lab import node.txt | lab run -
  lab capture --mask > node.txt
  lab capture --script > capture.sh; kubectl debug ... -- sh -s < capture.sh > node.txt
  lab capture --mask --from node.txt > masked.txt

Nothing is changed, and root is not needed: the end of the text lists everything that could not be read, for example because \
only root can read it. --script prints a shell script that needs only `ip` and `cat`, for machines where the lab cannot be installed.";

/// Standard input, as a file.
const STDIN: &str = "-";

/// Arguments of `lab capture`.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// Print a POSIX shell script that captures the same, and capture nothing now
    #[arg(long, conflicts_with_all = ["mask", "from"])]
    script: bool,
    /// Replace Ethernet addresses, public IP addresses, host names and serial numbers, each by the same text everywhere
    #[arg(long)]
    mask: bool,
    /// Mask this text, which the script or an earlier capture made, instead of capturing; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "mask")]
    from: Option<PathBuf>,
    /// An additional host name to mask; may be repeated
    #[arg(long, value_name = "NAME", requires = "mask")]
    host_name: Vec<String>,
}

/// Captures, and prints the text.
pub fn capture(args: &CaptureArgs) -> Result<ExitCode, Failure> {
    if args.script {
        print!("{SCRIPT}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut names = args.host_name.clone();
    let text = match &args.from {
        Some(path) => {
            let bytes_max = TEXT_BYTES_MAX as u64;
            let bytes = if path.as_os_str() == STDIN {
                file::read_stdin(bytes_max)
            } else {
                file::read(path, bytes_max)
            };
            String::from_utf8_lossy(&bytes.map_err(|error| Failure::unreadable(&error))?).into_owned()
        }
        None => {
            names.extend(read::host_name());
            let captured = read::capture().map_err(|why| {
                Failure::unavailable(format!(
                    "error: no link can be seen: {why}\nhint: apt-get install iproute2, or run the script of `lab capture --script` where \
                     `ip` is"
                ))
            })?;
            for missing in captured.missing() {
                eprintln!("not seen: {missing}");
            }
            captured.finish()
        }
    };
    let text = if args.mask {
        mask::mask(&text, &names).map_err(|error| Failure::invalid(format!("error: {error}")))?
    } else {
        text
    };
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}
