//! Machines that really boot and really die. Each test names what it provokes.

use std::process::ExitCode;

use bondlab_guest::selftest;
use bondlab_host::kernel::store::Kernel;
use bondlab_host::vm::qemu::{Qemu, VmSpec};
use bondlab_host::vm::{Next, Timeouts, Vm, initramfs};
use libtest_mimic::{Arguments, Trial};

use machine::{Bench, LAB};

// Below a folder, or cargo would build each as a test program of its own.
#[path = "vm/cache.rs"]
mod cache;
#[path = "vm/deaths.rs"]
mod deaths;
#[path = "vm/interrupted.rs"]
mod interrupted;
mod machine;
#[path = "vm/pages.rs"]
mod pages;
#[path = "vm/shortage.rs"]
mod shortage;
#[path = "vm/warm.rs"]
mod warm;

/// A test with the machine it may start.
type Test = fn(Qemu, VmSpec);

/// Test functions with their names.
macro_rules! tests {
    ($($test:ident),+ $(,)?) => { [$((stringify!($test), $test as crate::Test)),+] };
}
use tests;

/// The kernel of the report; what a machine does at its end is QEMU's and the lab's, and hardly the kernel's.
const KERNEL: &str = "6.12.57";

/// All a guest needs to talk to the host, whether or not its kernel has it built in.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];

fn main() -> ExitCode {
    if std::env::var_os(deaths::HOLD_VARIABLE).is_some() {
        deaths::hold_a_machine();
        return ExitCode::SUCCESS;
    }
    let pin = machine::pins(KERNEL).remove(0);
    let trial = |module: &str, (name, test): (&str, Test)| {
        machine::trial(format!("{module}::{name}"), pin.clone(), move |bench, kernel| {
            test(bench.qemu.clone(), spec(bench, kernel));
        })
    };
    let deaths = deaths::TESTS.into_iter().map(|test| trial("deaths", test));
    let warm = warm::TESTS.into_iter().map(|test| trial("warm", test));
    let cache = cache::TESTS.into_iter().map(|test| trial("cache", test));
    let shortage = shortage::TESTS.into_iter().map(|test| trial("shortage", test));
    let interrupted = interrupted::TESTS.into_iter().map(|test| trial("interrupted", test));
    let name = "pages::commands_print_what_the_pages_show";
    let pages = machine::trial(name, pin.clone(), |_, _| pages::commands_print_what_the_pages_show());
    let trials: Vec<Trial> =
        deaths.chain(warm).chain(cache).chain(shortage).chain(interrupted).chain([pages]).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn spec(bench: &Bench, kernel: &Kernel) -> VmSpec {
    let modules = kernel.modules.available(&MODULES).expect("the index of the kernel's modules");
    let initramfs =
        initramfs::build(&bench.cache, kernel, LAB.as_ref(), &modules, &[]).expect("an initramfs");
    let mut spec = VmSpec::new(kernel.vmlinux.clone(), initramfs);
    spec.cmdline_extra.push(selftest::WORD.to_owned());
    spec
}

fn booted(qemu: &Qemu, spec: &VmSpec, timeouts: Timeouts) -> Vm {
    let mut vm = Vm::boot(qemu, spec, timeouts).unwrap();
    let ready = vm.wait_ready().unwrap();
    assert!(ready.refused_modules.is_empty(), "{ready:?}");
    vm
}

/// One question to a guest that waits for work.
fn ask(vm: &mut Vm, question: &str) -> String {
    vm.send(question).unwrap();
    match vm.next_line() {
        Next::Line(line) => line,
        other => panic!("{question}: {other:?}"),
    }
}
