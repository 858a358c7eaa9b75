//! One test for each topology of the folder on each kernel.

fn main() -> std::process::ExitCode {
    lab::Folder::new("topologies").kernels("6.12.57,7.3.4").main()
}
