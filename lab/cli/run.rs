//! `lab run`: one topology on one kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use crate::cli::failure::{DIFFERS, Failure, UNAVAILABLE};
use crate::cli::look::LookArgs;
use crate::cli::steps::Steps;
use crate::cli::{PinsArgs, ProvisionArgs, annotations, drivers, other_format, pcap, provision, substitutes};
use bondlab_core::judge::mutation;
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::net::clean;
use bondlab_core::plan;
use bondlab_core::plan::lower::lower_with;
use bondlab_core::plan::record::Record;
use bondlab_core::plan::stepping::{Origin, OriginError, Stepping};
use bondlab_core::plan::{Mutation, Plan, Programs, RunOptions};
use bondlab_core::report::terminal::Look;
use bondlab_core::report::{format, markdown, pcapng, reproducer, snapshot, terminal};
use bondlab_core::topology::lint::Finding;
use bondlab_core::topology::source::Source;
use bondlab_core::topology::{Setting, Topology};
use bondlab_host::cache::Cache;
use bondlab_host::file;
use bondlab_host::file::At;
use bondlab_host::include::{self, SourceError};
use bondlab_host::kernel::pins::{KernelPin, Kernels, hex};
use bondlab_host::kernel::store::{HOST_IMAGE, Kernel, Store};
use bondlab_host::run::runner::{Machine, Run, Watch};
use bondlab_host::run::{plugins, runner};
use bondlab_host::vm::Timeouts;
use bondlab_host::vm::accel::Choice;
use bondlab_host::vm::qemu::Qemu;
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab run topologies/vlan-over-bond-tx-drop.toml --kernel 6.12.57
  lab run topologies/vlan-over-bond-tx-drop.toml --kernel-image linux/arch/x86/boot/bzImage --modules linux
  lab run topologies/vlan-over-bond-tx-drop.toml --prove
  lab run topologies/failover-by-mode.toml --set miimon=50
  lab run topologies/vlan-over-bond-tx-drop.toml --repeat 20
  lab run topologies/vlan-over-bond-tx-drop.toml --reproducer vlan-drop.sh
  lab run topologies/vlan-over-bond-tx-drop.toml --pcap frames/
  lab import - < report.md | lab run -
  sudo lab run topologies/vlan-over-bond-tx-drop.toml --kernel host";

/// The kernel for a topology that names none.
const DEFAULT_KERNELS: &str = "default";
/// A topology from standard input.
const STDIN: &str = "-";
/// `--kernel host`.
const THIS_KERNEL: &str = "host";

/// Arguments of `lab run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A topology file, or `-` for standard input
    topology: PathBuf,
    /// Use only this value of a parameter of the file; may be repeated for several parameters
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
    /// A version of kernels.toml, `host` for the running kernel, or `host-image` for the one in /boot, in a
    /// machine; default: the topology's own
    #[arg(long, value_name = "VERSION")]
    kernel: Option<String>,
    /// A kernel of your own, a bzImage or vmlinux, in a machine
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    kernel_image: Option<PathBuf>,
    /// Its modules: a build tree, or lib/modules/RELEASE of `make modules_install`
    #[arg(long, value_name = "DIR", requires = "kernel_image")]
    modules: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// kvm, tcg, or auto: KVM where a guest has booted with it
    #[arg(long, default_value = "auto")]
    accel: Choice,
    /// Boot the kernel anew instead of restoring a saved machine
    #[arg(long)]
    cold: bool,
    /// Mutation-test the expectations: an expectation that holds in all mutants of the topology is vacuous, and fails the run
    #[arg(long)]
    prove: bool,
    /// Run everything this many times, each in fresh namespaces of one kernel; a round that differs from the first
    /// fails the run
    #[arg(
        long,
        value_name = "TIMES",
        default_value = "1",
        conflicts_with = "prove",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(plan::REPETITIONS_MAX))
    )]
    repeat: u16,
    /// Leave the drop tracepoint alone and go by counters: to measure what watching costs
    #[arg(long, hide = true)]
    no_observer: bool,
    /// Write the records that the agent sent to FILE, a line each: what the tests of the ledger are made of
    #[arg(long, hide = true, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Folder of the CNI plugins' programs; /usr/lib/cni if it exists
    #[arg(long, value_name = "DIR")]
    cni_plugins: Option<PathBuf>,
    /// Who attaches pods; default: as each network says (`plugin`), and the lab where it has no such key
    #[arg(long, value_enum)]
    cni: Option<Cni>,
    /// Write a standalone shell script of ip and tc commands that reproduces the run without the lab; it lists operations without a command
    #[arg(long, value_name = "FILE", conflicts_with = "repeat")]
    reproducer: Option<PathBuf>,
    #[command(flatten)]
    look: LookArgs,
    /// Save the frames that both ends of each flow send and receive: a pcapng file for each end and trial, of at most 4 MiB, in DIR
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
    #[command(flatten)]
    pins: PinsArgs,
    #[command(flatten)]
    provision: ProvisionArgs,
}

/// Who attaches pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cni {
    /// The lab itself, in place of the plugins
    Own,
    /// The plugins' own programs for all networks; if one is missing there is no run
    Real,
    /// The plugins' own programs if the folder has them, the lab for the other networks
    Auto,
}

/// A rendering of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// The machine-readable result, and nothing else on standard output
    Json,
    /// Markdown with a picture of the topology, for an issue or a mail
    Markdown,
    /// The text that snapshots keep and compare, without values that vary between runs
    Snapshot,
    /// Failures as annotations of GitHub Actions, at the lines of the file
    Github,
    /// JSON for KCIDB, the database of KernelCI
    Kcidb,
}

/// Runs one topology.
pub fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let about = |topology: &Topology, run: &Run, look: &Look| {
        terminal::render_as(&run.document, topology.about.as_deref(), look)
    };
    carry_out(args, |topology, options| Ok(lower_with(topology, options)), about)
}

/// Reads a topology, carries out a plan that is made of it and of the run's options, and prints the result; `text` renders
/// it for people.
pub fn carry_out(
    args: &RunArgs,
    lower: impl Fn(&Topology, &RunOptions) -> Result<Plan, Failure>,
    text: impl Fn(&Topology, &Run, &Look) -> String,
) -> Result<ExitCode, Failure> {
    let (all, _) = read_variants(&args.topology, &args.set)?;
    let is_one = all.len() == 1;
    if args.reproducer.is_some() && !is_one {
        let hint = "choose one of them with --set NAME=VALUE";
        let variants = all.len();
        return Err(Failure::usage(format!(
            "error: --reproducer is for one variant, and the topology has {variants}\nhint: {hint}"
        )));
    }
    let (mut worst, mut documents) = (ExitStatus::default(), Vec::new());
    for topology in all {
        let begun = Instant::now();
        let (topology, run) = one(args, topology, (begun, is_one), &lower)?;
        worst.add(&run);
        print(args, &run, || text(&topology, &run, &args.look.look()), is_one);
        documents.push(run.document);
    }
    if !is_one && args.format == Format::Json {
        let variants = serde_json::json!({ "variants": documents });
        println!("{}", format::json(&variants).expect("a result has text keys only"));
    }
    if args.format == Format::Kcidb {
        println!("{}", annotations::kcidb(&documents.iter().collect::<Vec<_>>())?);
    }
    Ok(worst.code())
}

/// Carries out one variant.
fn one(
    args: &RunArgs,
    mut topology: Topology,
    (begun, is_one): (Instant, bool),
    lower: &impl Fn(&Topology, &RunOptions) -> Result<Plan, Failure>,
) -> Result<(Topology, Run), Failure> {
    let kernel =
        args.kernel.clone().or_else(|| topology.kernel.clone()).unwrap_or_else(|| DEFAULT_KERNELS.into());
    let is_here = kernel == THIS_KERNEL && args.kernel_image.is_none();
    let options = options(args, is_here, &mut topology)?;
    let plan = lower(&topology, &options)?.repeated(args.repeat);
    let mut run = if is_here {
        runner::carry_out_here(&topology, &plan, Timeouts::default())?
    } else {
        in_machine(args, &topology, &plan, &kernel)?
    };
    run.document.timing_ms.total = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Some(path) = &args.records {
        write_records(path, &run).map_err(|error| Failure::unavailable_for(&error))?;
    }
    if let Some(folder) = &args.pcap {
        let of_variant = || folder.join(pcapng::file_stem(&run.document.topology));
        pcap::write(&if is_one { folder.clone() } else { of_variant() }, &plan, &run)?;
    }
    if let Some(path) = &args.reproducer {
        write_reproducer(path, &plan, &run)?;
    }
    Ok((topology, run))
}

/// Prints a result; of several variants JSON is printed together.
fn print(args: &RunArgs, run: &Run, text: impl FnOnce() -> String, is_one: bool) {
    match args.format {
        Format::Text => print!("{}", text()),
        Format::Snapshot => print!("{}", snapshot::text(&run.document)),
        Format::Markdown => print!("{}", markdown::render(&run.document)),
        Format::Github => print!("{}", annotations::of_run(&run.document, &args.topology)),
        // All variants are printed together.
        Format::Kcidb => {}
        Format::Json if !is_one => {}
        Format::Json => {
            println!("{}", format::json(&run.document).expect("a result has text keys only"));
        }
    }
    // Standard output is the result's alone when a script reads it.
    for note in &run.notes {
        match args.format {
            Format::Text => println!("note: {note}"),
            _ => eprintln!("note: {note}"),
        }
    }
    if args.format != Format::Github && annotations::are_read() {
        eprint!("{}", annotations::of_run(&run.document, &args.topology));
    }
    if !is_one && matches!(args.format, Format::Text | Format::Markdown | Format::Snapshot) {
        println!();
    }
}

/// Writes the script, and says what it does not do.
fn write_reproducer(path: &Path, plan: &Plan, run: &Run) -> Result<(), Failure> {
    let script = reproducer::render(plan, &run.document).ok_or_else(|| {
        Failure::invalid("error: there is nothing to reproduce: the topology has neither steps nor a report")
    })?;
    let written = fs::write(path, &script.text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .at("write", path);
    written.map_err(|error| Failure::unavailable_for(&error))?;
    for missing in &script.missing {
        eprintln!("note: {} does not do this: {missing}", path.display());
    }
    Ok(())
}

fn write_records(path: &Path, run: &Run) -> Result<(), file::FileError> {
    let line = |record| serde_json::to_string(record).expect("plain data") + "\n";
    fs::write(path, run.records.iter().map(line).collect::<String>()).at("write", path)
}

/// How the topology is run, which gets substitutes here for NICs that are not to be had. Mutants are made last: of what runs.
fn options(args: &RunArgs, is_here: bool, topology: &mut Topology) -> Result<RunOptions, Failure> {
    let used_fallback = if is_here {
        substitutes::for_all(topology)
    } else {
        Qemu::find().is_ok_and(|qemu| substitutes::for_qemu(&qemu, topology))
    };
    let mutation = if args.prove { Some(mutation(args, topology)?) } else { None };
    Ok(RunOptions {
        mutation,
        unobserved: args.no_observer,
        pcap: args.pcap.is_some(),
        used_fallback,
        programs: programs(args, is_here, topology),
    })
}

/// What must break each expectation; there has to be one.
fn mutation(args: &RunArgs, topology: &Topology) -> Result<Mutation, Failure> {
    let mutation = mutation::of(topology);
    // Evidence is proven too, by an explanation that does not fit it.
    if mutation.targets.is_empty() && topology.scenario.report.is_none() {
        return Err(Failure::invalid(format!(
            "error: {} expects nothing and waits for nothing: there is nothing to prove\nhint: add an [[expect]], or leave \
             --prove away",
            args.topology.display()
        )));
    }
    Ok(mutation)
}

/// Who attaches pods. Programs are not run on this kernel.
fn programs(args: &RunArgs, is_here: bool, topology: &Topology) -> Programs {
    let folder = folder_of(args);
    match args.cni {
        None => Programs::AsWritten,
        Some(Cni::Own) => Programs::Never,
        Some(Cni::Real) => Programs::Always,
        Some(Cni::Auto) if is_here => Programs::Never,
        Some(Cni::Auto) => {
            let attached = topology.attachments.by_step.values().flat_map(|attachment| &attachment.delegates);
            let programs = attached.flat_map(|attached| attached.network.programs());
            let there = programs.filter(|name| plugins::has(folder.as_deref(), name));
            Programs::WhereThere(there.map(str::to_owned).collect())
        }
    }
}

fn folder_of(args: &RunArgs) -> Option<PathBuf> {
    args.cni_plugins.clone().or_else(plugins::installed)
}

fn in_machine(args: &RunArgs, topology: &Topology, plan: &Plan, kernel: &str) -> Result<Run, Failure> {
    let cache = provision::cache()?;
    let kernels = provision::kernels(args.pins.kernels_file.as_deref())?;
    let choice = choose(args, kernel, &kernels)?;
    let qemu = provision::qemu(&args.provision)?;
    let kernel = choice.kernel(topology, &kernels, &args.provision, &cache)?;
    let (accelerator, note) = provision::accelerator(args.accel, &qemu, &kernel, &cache)?;
    let init = provision::init()?;
    let plugins = folder_of(args);
    let steps = Steps::new(plan);
    let show = |record: &Record| steps.show(record);
    let machine = Machine {
        watch: args.look.shows_steps().then_some(Watch(&show)),
        kernel: &kernel,
        plugins: plugins.as_deref(),
        qemu: &qemu,
        accelerator,
        init: &init,
        cache: &cache,
        cold: args.cold,
        words: &[],
        timeouts: Timeouts::default(),
    };
    let mut run = runner::carry_out_in_machine(topology, plan, &machine)?;
    run.notes.extend(note);
    if let Boot::Pin(pin) = &choice {
        drivers::explain(&mut run.document, topology, pin, &kernels);
    }
    Ok(run)
}

/// The kernel to boot, before anything is fetched for it.
enum Boot {
    Pin(KernelPin),
    Image { image: PathBuf, modules: Option<PathBuf> },
    HostImage,
}

fn choose(args: &RunArgs, kernel: &str, kernels: &Kernels) -> Result<Boot, Failure> {
    if let Some(image) = &args.kernel_image {
        return Ok(Boot::Image { image: image.clone(), modules: args.modules.clone() });
    }
    if kernel == HOST_IMAGE {
        return Ok(Boot::HostImage);
    }
    match &provision::select(kernels, kernel)?[..] {
        [pin] => Ok(Boot::Pin((*pin).clone())),
        pins => {
            Err(Failure::usage(format!("error: `{kernel}` is {} kernels; `lab run` takes one", pins.len())))
        }
    }
}

impl Boot {
    fn kernel(
        &self,
        topology: &Topology,
        kernels: &Kernels,
        args: &ProvisionArgs,
        cache: &Cache,
    ) -> Result<Kernel, Failure> {
        let store = Store::new(cache.clone(), None);
        match self {
            Boot::Pin(pin) => drivers::kernel(topology, pin, kernels, args, cache),
            Boot::HostImage => Ok(store.host_image()?),
            Boot::Image { image, modules } => store
                .from_image(image, modules.as_deref())
                .map_err(|error| Failure::invalid(format!("error: {error}"))),
        }
    }
}

/// Reads and checks a topology file, of a file with parameters its first variant; `-` is standard input.
pub fn read(path: &Path) -> Result<Topology, Failure> {
    let (all, _) = read_variants(path, &[])?;
    Ok(all.into_iter().next().expect("a file has one variant at least"))
}

/// Reads a topology whose steps are carried out one by one: the file's own, or those of a hypothesis of its report.
pub fn read_stepping(path: &Path, hypothesis: Option<&str>) -> Result<(Topology, Stepping), Failure> {
    let (name, source) = read_source(path)?;
    let origin = Origin::new(&name, &source, hypothesis);
    let topology = origin.topology().map_err(|error| match error {
        OriginError::Topology(errors) => Failure::topology(&errors),
        OriginError::Hypothesis { .. } => Failure::usage(format!("error: {error}")),
    })?;
    let stepping = Stepping::new(&topology, origin);
    Ok((topology, stepping))
}

/// Reads and checks all variants of a topology file, with the first 16 digits of the SHA-256 of the text; `-` is standard input.
pub fn read_variants(path: &Path, set: &[Setting]) -> Result<(Vec<Topology>, String), Failure> {
    let (name, source) = read_source(path)?;
    let all = Topology::variants_of(&name, &source, set)
        .map_err(|errors| other_format::refused(&errors, &source))?;
    Ok((all, hex(&Sha256::digest(source.text()))[..16].to_owned()))
}

/// All variants, with what lint finds in any of them.
pub fn read_and_lint(path: &Path) -> Result<(Vec<Topology>, Vec<Finding>), Failure> {
    let (name, source) = read_source(path)?;
    Topology::parse_and_lint(&name, &source).map_err(|errors| other_format::refused(&errors, &source))
}

/// A topology's name, and its text with what it includes.
fn read_source(path: &Path) -> Result<(String, Source), Failure> {
    if path == Path::new(STDIN) {
        let bytes =
            file::read_stdin(file::TOPOLOGY_BYTES_MAX).map_err(|error| Failure::unreadable(&error))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::invalid("error: standard input is no UTF-8 text"))?;
        return Ok(("stdin".to_owned(), Source::of("standard input", &text)));
    }
    let source = include::read(path).map_err(|error| match error {
        SourceError::File(error) => Failure::unreadable(&error),
        SourceError::Include(errors) => Failure::topology(&errors),
    })?;
    let name = path
        .file_stem()
        .map_or_else(|| "topology".into(), |stem| clean::line(&stem.to_string_lossy()).into_owned());
    Ok((name, source))
}

/// What runs come to: that of the worst of them.
#[derive(Default)]
struct ExitStatus(Option<Outcome>);

impl ExitStatus {
    fn add(&mut self, run: &Run) {
        let rank = |outcome: Outcome| (outcome.is_failure(), !outcome.is_expected());
        let outcome = run.document.outcome;
        if self.0.is_none_or(|worst| rank(worst) < rank(outcome)) {
            self.0 = Some(outcome);
        }
    }

    fn code(&self) -> ExitCode {
        self.0.map_or(ExitCode::SUCCESS, exit_code)
    }
}

pub fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        outcome if outcome.is_expected() => ExitCode::SUCCESS,
        Outcome::Skip | Outcome::Unsupported => ExitCode::from(UNAVAILABLE),
        _ => ExitCode::from(DIFFERS),
    }
}
