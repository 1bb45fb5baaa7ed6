//! Examples and further explanations, as `--help` shows them below the options.

/// Of the command itself.
pub(super) const MAIN: &str = "\
Examples:
  cowling run app.wasm one two           run a program with two arguments
  cowling app.wasm one two               the same
  cowling run --dir . app.wasm in.txt    let it read and write files below this directory
  cowling run --invoke add math.wat 1 2  call one function and print what it returns
  cowling compile app.wasm -o app.cowling && cowling run app.cowling
                                         compile now, start at once later
  cowling explore app.wasm               look at its machine code in a browser

`cowling help COMMAND` has examples of each command.

Environment:
  COWLING_CONFIG  configuration file to use instead of the user's (see `cowling config`)
  COWLING_LOG     what to log to the standard error, for example `debug` or `cowling=trace`
  NO_COLOR        no colours, if it is set

Exit status:
  0    all is well
  1    a file is bad, or something fails
  2    the command line, the configuration or a setting makes no sense
  `run` has the program's own, and more: see `cowling help run`.";

/// Of `run`.
pub(super) const RUN: &str = "\
Options come before FILE; everything after it is the program's.

Examples:
  cowling run app.wasm --verbose              `--verbose` is the program's
  cowling run --dir data::/data::ro app.wasm  it may read what is in ./data, which it sees as /data
  cowling run --env LANG=C --env HOME app.wasm
  cowling run --invoke area shapes.wat 2.5    call `area` with a number
  cowling run --preload env=lib.wasm app.wasm its imports from `env` are the exports of lib.wasm
  cowling run --timeout 10s --max-memory 64Mi --fuel 5G untrusted.wasm
  cowling run --deterministic app.wasm        the same output each time
  cowling run --stats app.wasm                how long did compiling, starting and running take?
  cowling run --coredump core.wasm app.wasm   keep its memory if it traps
  curl -s https://example.com/app.wasm | cowling run -

Values for --invoke:
  i32, i64    decimal or 0x..., signed or unsigned
  f32, f64    1.5, -2e10, inf, nan, nan:0x123
  v128        i32x4:1,2,3,4 (or i8x16, i16x8, i64x2, f32x4, f64x2), or one number
  references  null

Exit status:
  the program's own when it ends by itself
  2    the command line, the configuration or a setting makes no sense
  124  it took longer than --timeout
  126  it cannot be run: not WebAssembly, not valid, an import is missing, ...
  127  there is no such file
  130  Ctrl-C ended it (a second Ctrl-C ends everything at once)
  134  it trapped, ran out of fuel, or a host function that it called failed";

/// Of `compile`.
pub(super) const COMPILE: &str = "\
Examples:
  cowling compile app.wasm                          writes app.cowling
  cowling compile app.wasm -o out/app.cowling
  cowling compile -C cranelift_opt_level=none app.wasm
  cowling compile --sign me.pem app.wasm            `run --trust-key me.pem.pub` accepts it
  wat2wasm app.wat -o - | cowling compile - -o app.cowling

An artifact runs only with the settings it was compiled with, and on machines
that have the features of this one's processor (--target makes one that runs on
each). It is machine code: run only those that you would run as a program.";

/// Of `keygen`.
pub(super) const KEYGEN: &str = "\
Examples:
  cowling keygen me.pem                             writes me.pem and me.pem.pub
  cowling compile --sign me.pem app.wasm && cowling run --trust-key me.pem.pub app.cowling";

/// Of `validate`.
pub(super) const VALIDATE: &str = "\
Examples:
  cowling validate *.wasm                           prints nothing if all are valid
  cowling validate -W threads=no app.wasm           does it do without threads?";

/// Of `inspect`.
pub(super) const INSPECT: &str = "\
Examples:
  cowling inspect app.wasm
  cowling inspect --json app.wasm | jq .exports";

/// Of `objdump`.
pub(super) const OBJDUMP: &str = "\
Examples:
  cowling objdump --list app.wasm                   the functions, with the size of their code
  cowling objdump -f main app.cowling               one function
  cowling objdump -f '*alloc*' --bytes app.wasm

Each block of instructions begins with the offset in the binary of the operator
that they come from. Behind `;` are the functions that are called, and the trap
that it means when an instruction faults.";

/// Of `explore`.
pub(super) const EXPLORE: &str = "\
Examples:
  cowling explore app.wasm                          writes app.html
  cowling explore -f main app.wasm -o - > main.html
  cowling explore -C cranelift_opt_level=none app.wat

The page needs nothing but a browser: it loads nothing from anywhere.";

/// Of `wast`.
pub(super) const WAST: &str = "\
Examples:
  cowling wast i32.wast memory.wast
  cowling wast -C cranelift_opt_level=none i32.wast";

/// Of `cache`.
pub(super) const CACHE: &str = "\
Examples:
  cowling cache size
  cowling cache clean
  du -sh \"$(cowling cache dir)\"

`run`, `inspect` and `objdump` keep what they compiled there, unless told `--no-cache`.";

/// Of `settings`.
pub(super) const SETTINGS: &str = "\
Examples:
  cowling settings
  cowling settings memory
  cowling run -C memory_guard_size=65536 app.wasm

A setting is given with -C NAME=VALUE, or in the configuration file. Those of
the scope `code` change compiled code, so that an artifact runs only with the
same value. Those that switch proposals have a short form: `-W simd=no`.";

/// Of `config`.
pub(super) const CONFIG: &str = "\
Examples:
  cowling config                                    what is in effect, and from which file
  cowling config init                               make a file that has every setting, commented out
  cowling config --config other.toml

The file is the one of --config, of the environment variable COWLING_CONFIG, or
`cowling/config.toml` in the user's configuration directory. What the command
line says goes before what the file says.";

/// Of `completion`.
pub(super) const COMPLETION: &str = "\
Examples:
  cowling completion bash > ~/.local/share/bash-completion/completions/cowling
  cowling completion zsh > ~/.zfunc/_cowling
  cowling completion fish > ~/.config/fish/completions/cowling.fish";
