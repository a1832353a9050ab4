//! Every command, argument and flag.
//!
//! In: the command line, and for each flag a variable `WALHOST_FLAG`. Out: `Arguments`.

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use walhost_core::config::{Duration as Wait, Size};

/// Takes records over HTTP, keeps them, and delivers them through sandboxed plugins.
#[derive(Parser)]
#[command(name = "walhost", version, arg_required_else_help = true, propagate_version = false)]
pub struct Arguments {
    /// The host's admin listener.
    #[arg(long, global = true, default_value = "http://127.0.0.1:7071", value_name = "URL")]
    pub url: String,
    /// The host's ingest listener; asked for at the admin listener when it is not given.
    #[arg(long, global = true, value_name = "URL")]
    pub ingest_url: Option<String>,
    /// File with the bearer token.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How answers are printed.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Format,
    /// No colours.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Nothing but answers and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More log lines; twice: all.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Do not ask before what cannot be undone.
    #[arg(long, global = true)]
    pub yes: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person.
    Table,
    /// The whole answer as one JSON document.
    Json,
    /// One JSON document a line for each part of a list.
    Ndjson,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Serve the namespaces of a configuration.
    Serve(ServeArguments),
    /// A host in a temporary directory with a namespace `demo`, that prints what it delivers.
    Dev(DevArguments),
    /// Check, show and reload configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Append records to a namespace.
    Send(SendArguments),
    /// Where a record stands, for each target.
    Get {
        /// The namespace.
        namespace: String,
        /// The record's id.
        id: String,
    },
    /// Cancel a record that is not delivered.
    Cancel {
        /// The namespace.
        namespace: String,
        /// The record's id.
        id: String,
    },
    /// Read records at rest; changes nothing.
    Peek(PeekArguments),
    /// Namespaces.
    #[command(subcommand)]
    Ns(NamespaceCommand),
    /// Targets of a namespace.
    #[command(subcommand)]
    Target(TargetCommand),
    /// Dead letters of a namespace.
    #[command(subcommand)]
    Dlq(DeadLetterCommand),
    /// Long-running work of the host.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Write, build, try and load plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Look into a data directory, offline.
    #[command(subcommand)]
    Wal(WalCommand),
    /// Generate load and measure latency.
    Bench(crate::bench::BenchArguments),
    /// Version and features of this program.
    Version,
    /// A completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
pub struct ServeArguments {
    /// The process file.
    #[arg(short, long, value_name = "FILE", default_value = "walhost.toml")]
    pub config: PathBuf,
    /// Serve this shard, whatever `[shard] name` says.
    #[arg(long)]
    pub shard: Option<String>,
}

#[derive(Args)]
pub struct DevArguments {
    /// Port of the ingest listener; admin is the next one. 0: free ones.
    #[arg(long, default_value_t = 7070)]
    pub port: u16,
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with it.
    Validate {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// All files merged, defaults filled in, secrets masked.
    Show {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// JSON Schema of a file.
    Schema,
    /// Have the host read its files again; says what changed.
    Reload,
}

#[derive(Args)]
pub struct ConfigFile {
    /// The process file.
    #[arg(short, long, value_name = "FILE", default_value = "walhost.toml")]
    pub config: PathBuf,
}

#[derive(Args)]
pub struct SendArguments {
    /// The namespace.
    pub namespace: String,
    /// The record's value.
    #[arg(short, long, conflicts_with_all = ["file", "stdin"])]
    pub data: Option<String>,
    /// A file with the value.
    #[arg(short, long, conflicts_with = "stdin")]
    pub file: Option<PathBuf>,
    /// `-`: the value comes on standard input.
    #[arg(value_parser = ["-"])]
    pub stdin: Option<String>,
    /// One record a line.
    #[arg(long)]
    pub ndjson: bool,
    /// Ordering and partition key.
    #[arg(long)]
    pub key: Option<String>,
    /// A record header, `name:value`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    pub headers: Vec<String>,
    /// Not delivered before so long, as in `30s`.
    #[arg(long, conflicts_with = "deliver_at")]
    pub delay: Option<String>,
    /// Not delivered before this RFC 3339 time.
    #[arg(long)]
    pub deliver_at: Option<String>,
    /// A mark against duplicates.
    #[arg(long)]
    pub idempotency_key: Option<String>,
    /// Only for this target.
    #[arg(long)]
    pub target: Option<String>,
    /// The key's value is deleted at the targets.
    #[arg(long, conflicts_with_all = ["data", "file", "stdin"])]
    pub tombstone: bool,
    /// Type of the value's content.
    #[arg(long)]
    pub content_type: Option<String>,
}

#[derive(Args)]
pub struct PeekArguments {
    /// The namespace.
    pub namespace: String,
    /// Where to begin, `partition:offset`; without it the oldest kept.
    #[arg(long)]
    pub from: Option<String>,
    /// How many.
    #[arg(short = 'n', long, default_value_t = 10)]
    pub limit: usize,
}

#[derive(Subcommand)]
pub enum NamespaceCommand {
    /// All of them.
    List,
    /// One of them.
    Get { namespace: String },
    /// Create or change namespaces from a file: TOML with [namespaces.NAME], or one table as JSON.
    Apply {
        /// TOML, or JSON where it ends in `.json`; `-`: TOML on standard input.
        #[arg(short, long)]
        file: PathBuf,
        /// Of a JSON file: which namespace it is.
        namespace: Option<String>,
        /// Only if the host has this version of it (the ETag).
        #[arg(long)]
        if_match: Option<String>,
    },
    /// Remove a namespace with all its records.
    Delete { namespace: String },
    /// Stop its delivery.
    Pause {
        namespace: String,
        /// Refuse records too.
        #[arg(long)]
        ingest: bool,
    },
    /// Go on.
    Resume { namespace: String },
    /// Numbers of now, for each target.
    Stats {
        namespace: String,
        /// Again every second.
        #[arg(long)]
        watch: bool,
    },
}

#[derive(Subcommand)]
pub enum TargetCommand {
    /// All of a namespace.
    List { namespace: String },
    /// One of them.
    Get { namespace: String, target: String },
    /// Hold its records.
    Pause { namespace: String, target: String },
    /// Go on; closes the breaker.
    Resume { namespace: String, target: String },
    /// Ask whether it would take records.
    Check { namespace: String, target: String },
    /// End it: what is pending is cancelled.
    Delete { namespace: String, target: String },
}

/// Which dead letters are meant.
#[derive(Args, Clone, Default)]
pub struct FilterArguments {
    /// Of this target.
    #[arg(long)]
    pub target: Option<String>,
    /// With this code.
    #[arg(long)]
    pub code: Option<String>,
    /// Given up at or after: RFC 3339, or so long ago, as in `2h`.
    #[arg(long)]
    pub since: Option<String>,
    /// Given up before: RFC 3339, or so long ago.
    #[arg(long)]
    pub until: Option<String>,
    /// Made by this plugin.
    #[arg(long)]
    pub digest: Option<String>,
}

#[derive(Subcommand)]
pub enum DeadLetterCommand {
    /// One line each.
    List {
        namespace: String,
        #[command(flatten)]
        filter: FilterArguments,
        /// How many.
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
    },
    /// By code, target and plugin, with counts.
    Groups { namespace: String },
    /// One with its record and history.
    Get { namespace: String, id: String },
    /// Send them through again.
    Redrive {
        namespace: String,
        #[command(flatten)]
        filter: FilterArguments,
        /// At most so many a second, as in `100/s`.
        #[arg(long)]
        rate: Option<String>,
        /// At most so many.
        #[arg(long)]
        max: Option<u64>,
        /// Only count.
        #[arg(long)]
        dry_run: bool,
        /// Wait until it is done.
        #[arg(long)]
        wait: bool,
    },
    /// Remove them for good.
    Purge {
        namespace: String,
        #[command(flatten)]
        filter: FilterArguments,
    },
    /// Whole dead letters as NDJSON, for `plugin test --records`.
    Export {
        namespace: String,
        #[command(flatten)]
        filter: FilterArguments,
        /// How many.
        #[arg(short = 'n', long, default_value_t = usize::MAX)]
        limit: usize,
    },
}

#[derive(Subcommand)]
pub enum TaskCommand {
    /// All of them.
    List,
    /// One of them.
    Get { id: String },
    /// Stop it where it is.
    Cancel { id: String },
}

/// Languages with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust.
    Rust,
}

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum World {
    /// Record in, 0 to n records out.
    Transform,
    /// A target.
    Sink,
}

#[derive(Subcommand)]
pub enum PluginCommand {
    /// Write a plugin's first lines into a new directory.
    New {
        /// The language.
        #[arg(long, value_enum, default_value = "rust")]
        lang: Language,
        /// The world.
        #[arg(long, value_enum, default_value = "transform")]
        kind: World,
        /// Name and directory.
        name: String,
        /// Where the Rust SDK is, when it is not beside this program's sources.
        #[arg(long, value_name = "DIR")]
        sdk: Option<PathBuf>,
    },
    /// Make components of a project.
    Build {
        /// Directory of the project.
        #[arg(default_value = ".")]
        directory: PathBuf,
        /// Where components go.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// World, imports, size, digest and compile time of a component.
    Inspect {
        file: PathBuf,
        /// Grant outbound HTTP to an origin; may be repeated.
        #[arg(long, value_name = "ORIGIN")]
        allow: Vec<String>,
    },
    /// Run a component on records with the host's own engine and limits.
    Test(PluginTestArguments),
    /// Measure what a component costs a record, with the host's own engine and limits.
    Bench(PluginBenchArguments),
    /// Put a component into the host's store.
    Push { file: PathBuf },
    /// Load a component into a slot.
    Load(PluginLoadArguments),
    /// Back to the version before.
    Rollback { namespace: String, slot: String },
    /// All versions of a slot.
    Versions { namespace: String, slot: String },
    /// All components of the store.
    List,
}

#[derive(Args)]
pub struct PluginTestArguments {
    /// The component.
    pub file: PathBuf,
    /// Records: NDJSON, one value a line, or lines of `dlq export`.
    #[arg(long, value_name = "FILE")]
    pub records: PathBuf,
    /// Records of one call.
    #[arg(long, default_value_t = 100)]
    pub batch: usize,
    /// What it is given.
    #[command(flatten)]
    pub guest: GuestArguments,
}

/// `walhost plugin load`.
#[derive(Args)]
pub struct PluginLoadArguments {
    pub namespace: String,
    /// `TARGET.transform` or `TARGET.sink`.
    pub slot: String,
    /// `sha256:…` of one in the store, or its first digits (8 or more), or a file, which is pushed first.
    pub component: String,
    /// A setting, `name=value`; the value is JSON, or else text. May be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// Grant outbound HTTP to an origin; may be repeated.
    #[arg(long, value_name = "ORIGIN")]
    pub allow: Vec<String>,
    /// Try it, load nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `walhost plugin bench`.
#[derive(Args)]
pub struct PluginBenchArguments {
    /// The component.
    pub file: PathBuf,
    /// Records: NDJSON, one value a line, or lines of `dlq export`. Without them JSON is made up.
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// Size of the values that are made up.
    #[arg(long, default_value = "1KiB", conflicts_with = "records")]
    pub size: Size,
    /// Records of one call; several are measured one after another.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 128])]
    pub batch: Vec<usize>,
    /// For how long each is measured.
    #[arg(long, default_value = "2s")]
    pub duration: Wait,
    /// What it is given.
    #[command(flatten)]
    pub guest: GuestArguments,
}

/// What a component of `plugin test` and `plugin bench` is given.
#[derive(Args)]
pub struct GuestArguments {
    /// A setting, `name=value`; the value is JSON, or else text. May be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// A secret, `name=VARIABLE`: read from the environment. May be repeated.
    #[arg(long = "secret", value_name = "NAME=VARIABLE")]
    pub secrets: Vec<String>,
    /// Grant outbound HTTP to an origin; may be repeated.
    #[arg(long, value_name = "ORIGIN")]
    pub allow: Vec<String>,
    /// Non-public addresses that granted origins may have, as in `127.0.0.0/8`; may be repeated.
    #[arg(long, value_name = "CIDR")]
    pub cidr: Vec<String>,
    /// Memory of an instance.
    #[arg(long)]
    pub memory: Option<String>,
    /// Wall time of a call.
    #[arg(long)]
    pub deadline: Option<String>,
}

#[derive(Subcommand)]
pub enum WalCommand {
    /// What is in it: segments, frames, records.
    Inspect { directory: PathBuf },
    /// Read and check every byte; exit code 1 with damage, each place named.
    Verify { directory: PathBuf },
    /// Every frame, in log order.
    Dump { directory: PathBuf },
}

/// The whole command line, each flag with its variable.
pub fn command() -> clap::Command {
    with_variables(Arguments::command())
}

/// Gives every flag `WALHOST_FLAG`. Flags that are only there or not take `1`, `true` or `yes`.
fn with_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let Some(long) = argument.get_long().map(str::to_owned) else { return argument };
        // The name lives as long as the program: there is one of it for each flag.
        let variable: &'static str = format!("WALHOST_{}", long.to_uppercase().replace('-', "_")).leak();
        match argument.get_action() {
            ArgAction::SetTrue => argument.env(variable).value_parser(FalseyValueParser::new()),
            ArgAction::Set | ArgAction::Append | ArgAction::Count => argument.env(variable),
            _ => argument,
        }
    });
    command.mut_subcommands(with_variables)
}
