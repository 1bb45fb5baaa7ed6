//! Carries out the directives of a script.

use crate::error::{Failure, ScriptError};
use crate::threads::Threads;
use crate::{message, spectest, value};
use anyhow::{Context as _, Error, Result, anyhow, bail};
use cowling::{
    Engine, Instance, LinkError, Linker, Module, SharedMemory, Store, ThrownException, Trap,
    UnknownImportError, Val,
};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::thread;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Id;
use wast::{QuoteWat, QuoteWatTest, Wast, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

/// What a script did when nothing failed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Directives carried out, assertions included.
    pub directives: usize,
    /// Assertions that held.
    pub assertions: usize,
}

/// Runs scripts against one engine.
///
/// Each runner has a store of its own. Scripts run one after the other in the same runner see the modules that earlier ones
/// registered.
pub struct Runner {
    engine: Engine,
    store: Store<()>,
    linker: Linker<()>,
    /// Instances with a name in the script.
    instances: HashMap<String, Instance>,
    /// Definitions with a name in the script.
    definitions: HashMap<String, Module>,
    /// The instance that directives without a name mean: the last one made. None if that failed.
    current: Option<Instance>,
    /// Names whose modules failed.
    lost: HashSet<String>,
    /// The definition that `(module instance)` without a name means.
    last_definition: Option<Module>,
}

impl Runner {
    /// A runner whose scripts see the `spectest` module only.
    ///
    /// # Errors
    /// If the engine cannot make what that module exports.
    pub fn new(engine: &Engine) -> Result<Runner> {
        let mut store = Store::new(engine, ());
        if engine.config().knobs().consume_fuel {
            // Scripts end on their own.
            store.set_fuel(u64::MAX)?;
        }
        let mut linker = Linker::new(engine);
        linker.allow_shadowing(true);
        spectest::define(&mut store, &mut linker)?;
        Ok(Runner {
            engine: engine.clone(),
            store,
            linker,
            instances: HashMap::new(),
            definitions: HashMap::new(),
            current: None,
            lost: HashSet::new(),
            last_definition: None,
        })
    }

    /// Runs a script to its end. `name` stands for it in messages.
    ///
    /// # Errors
    /// When the script does not parse or some of its directives fail. A failing directive does not keep the ones after it from
    /// running; what needs an instance that it should have made is counted, but not as a failure of its own.
    pub fn run(&mut self, name: &str, script: &str) -> Result<Report, ScriptError> {
        let error = |failures, consequences| ScriptError {
            name: name.to_string(),
            failures,
            consequences,
        };
        let syntax =
            |e: wast::Error| error(vec![Failure::at(script, e.span().offset(), e.message())], 0);

        let buffer = lex(script).map_err(syntax)?;
        let parsed: Wast<'_> = parser::parse(&buffer).map_err(syntax)?;
        let outcome = self.directives(script, parsed.directives);
        if outcome.failures.is_empty() {
            Ok(outcome.report)
        } else {
            Err(error(outcome.failures, outcome.consequences))
        }
    }

    /// Carries out directives, and those of the threads they start.
    pub(crate) fn directives(
        &mut self,
        script: &str,
        directives: Vec<WastDirective<'_>>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        thread::scope(|scope| {
            let mut threads = Threads::new(scope, script);
            for directive in directives {
                let offset = directive.span().offset();
                outcome.report.directives += 1;
                let done = match directive {
                    WastDirective::Thread(thread) => threads.start(self, thread),
                    WastDirective::Wait { thread, .. } => threads.wait(thread, &mut outcome),
                    directive => self.directive(directive),
                };
                match done {
                    Ok(Done::Action) => {}
                    Ok(Done::Assertion) => outcome.report.assertions += 1,
                    Err(e) if e.is::<Consequence>() => outcome.consequences += 1,
                    Err(e) => {
                        let failure = Failure::at(script, offset, format!("{e:#}"));
                        outcome.failures.push(failure);
                    }
                }
            }
            threads.wait_for_all(&mut outcome);
        });
        outcome
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The shared memories that an instance exports, by name.
    pub(crate) fn shared_memories(
        &mut self,
        instance: Id<'_>,
    ) -> Result<Vec<(String, SharedMemory)>> {
        let instance = self.instance(Some(instance))?;
        let exports = instance.exports(&mut self.store);
        let memories = exports.filter_map(|export| {
            let name = export.name().to_string();
            Some((name, export.into_shared_memory()?))
        });
        Ok(memories.collect())
    }

    /// Makes an instance of this name that exports shared memories.
    pub(crate) fn adopt(
        &mut self,
        name: Id<'_>,
        memories: &[(String, SharedMemory)],
    ) -> Result<()> {
        let mut text = String::from("(module");
        for (_, memory) in memories {
            text += &format!(" (import \"\" \"\" {})", memory.ty());
        }
        for (index, (export, _)) in memories.iter().enumerate() {
            text += &format!(" (export {export:?} (memory {index}))");
        }
        text.push(')');
        let module = Module::new(&self.engine, text)?;
        let imports: Vec<_> = memories.iter().map(|(_, m)| m.clone().into()).collect();
        let instance = Instance::new(&mut self.store, &module, &imports)?;
        self.instances.insert(name.name().to_string(), instance);
        Ok(())
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Result<Done> {
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name();
                self.lose(name);
                let module = self.compile(&mut module).map_err(Rejected::into_error)?;
                self.instantiate(name, &module)?;
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name();
                self.last_definition = None;
                let module = self.compile(&mut module).map_err(Rejected::into_error)?;
                if let Some(name) = name {
                    self.definitions
                        .insert(name.name().to_string(), module.clone());
                }
                self.last_definition = Some(module);
            }
            WastDirective::ModuleInstance {
                instance, module, ..
            } => {
                self.lose(instance);
                let module = match module {
                    Some(name) => self.definitions.get(name.name()),
                    None => self.last_definition.as_ref(),
                };
                let module = module
                    .context("no such module definition before this")?
                    .clone();
                self.instantiate(instance, &module)?;
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(module)?;
                self.linker.instance(&mut self.store, name, instance)?;
            }
            WastDirective::Invoke(call) => {
                self.invoke(&call)?;
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                self.assert_return(exec, &results)?;
                return Ok(Done::Assertion);
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let outcome = self.execute(exec);
                self.assert_trap(outcome, message, "a trap")?;
                return Ok(Done::Assertion);
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let outcome = self.invoke(&call);
                self.assert_trap(outcome, message, "exhaustion")?;
                return Ok(Done::Assertion);
            }
            WastDirective::AssertInvalid {
                module, message, ..
            }
            | WastDirective::AssertInvalidCustom {
                module, message, ..
            } => {
                self.assert_rejected(module, message, Stage::Validation)?;
                return Ok(Done::Assertion);
            }
            WastDirective::AssertMalformed {
                module, message, ..
            }
            | WastDirective::AssertMalformedCustom {
                module, message, ..
            } => {
                self.assert_rejected(module, message, Stage::Decoding)?;
                return Ok(Done::Assertion);
            }
            WastDirective::AssertUnlinkable {
                module, message, ..
            } => {
                self.assert_unlinkable(module, message)?;
                return Ok(Done::Assertion);
            }
            WastDirective::AssertException { exec, .. } => {
                let outcome = self.execute(exec);
                self.assert_exception(outcome)?;
                return Ok(Done::Assertion);
            }
            WastDirective::AssertSuspension { .. } => {
                bail!("`assert_suspension` is not supported: the engine has no stack switching yet")
            }
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                unreachable!("threads are the business of who carries out several directives")
            }
        }
        Ok(Done::Action)
    }

    fn compile(&self, module: &mut QuoteWat<'_>) -> Result<Module, Rejected> {
        let binary = encode(module).map_err(Rejected::Text)?;
        let validated = Module::validate(&self.engine, &binary);
        match (Module::from_binary(&self.engine, &binary), validated) {
            (Ok(module), Ok(())) => Ok(module),
            (Err(e), Err(_)) => Err(Rejected::Binary(e)),
            (Ok(_), Err(e)) => Err(Rejected::Disputed(
                e.context("compiles but does not validate"),
            )),
            (Err(e), Ok(())) => Err(Rejected::Disputed(
                e.context("validates but does not compile"),
            )),
        }
    }

    fn instantiate(&mut self, name: Option<Id<'_>>, module: &Module) -> Result<()> {
        let instance = self.linker.instantiate(&mut self.store, module)?;
        if let Some(name) = name {
            self.instances.insert(name.name().to_string(), instance);
            self.lost.remove(name.name());
        }
        self.current = Some(instance);
        Ok(())
    }

    /// Takes it that a module fails, until it is instantiated.
    fn lose(&mut self, name: Option<Id<'_>>) {
        self.current = None;
        if let Some(name) = name {
            self.instances.remove(name.name());
            self.lost.insert(name.name().to_string());
        }
    }

    fn instance(&self, name: Option<Id<'_>>) -> Result<Instance> {
        match name {
            Some(name) => match self.instances.get(name.name()) {
                Some(instance) => Ok(*instance),
                None if self.lost.contains(name.name()) => Err(Consequence.into()),
                None => bail!("no instance ${}", name.name()),
            },
            None => Ok(self.current.ok_or(Consequence)?),
        }
    }

    fn invoke(&mut self, call: &WastInvoke<'_>) -> Result<Vec<Val>> {
        let instance = self.instance(call.module)?;
        let export = instance.get_export(&mut self.store, call.name);
        let function = export
            .and_then(|export| export.into_func())
            .with_context(|| format!("no exported function {:?}", call.name))?;
        let arguments = call
            .args
            .iter()
            .map(|arg| value::argument(&mut self.store, arg))
            .collect::<Result<Vec<_>>>()?;
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function.call(&mut self.store, &arguments, &mut results)?;
        Ok(results)
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Vec<Val>> {
        match exec {
            WastExecute::Invoke(call) => self.invoke(&call),
            WastExecute::Wat(module) => {
                let module = self
                    .compile(&mut QuoteWat::Wat(module))
                    .map_err(Rejected::into_error)?;
                self.linker.instantiate(&mut self.store, &module)?;
                Ok(Vec::new())
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module)?;
                let export = instance.get_export(&mut self.store, global);
                let global = export
                    .and_then(|export| export.into_global())
                    .with_context(|| format!("no exported global {global:?}"))?;
                Ok(vec![global.get(&mut self.store)])
            }
        }
    }

    fn assert_return(&mut self, exec: WastExecute<'_>, expected: &[WastRet<'_>]) -> Result<()> {
        let found = self.execute(exec)?;
        value::check_results(&mut self.store, &found, expected)
    }

    fn assert_trap(&self, outcome: Result<Vec<Val>>, expected: &str, what: &str) -> Result<()> {
        let error = match outcome {
            Ok(results) => bail!(
                "expected {what}, `{expected}`; it returned [{}]",
                self.show(&results)
            ),
            Err(error) if error.is::<Consequence>() => return Err(error),
            Err(error) => error,
        };
        let Some(trap) = error.downcast_ref::<Trap>() else {
            bail!("expected {what}, `{expected}`; found another error: {error:#}");
        };
        let found = trap.to_string();
        if !message::agrees(expected, &found) {
            bail!("expected {what}, `{expected}`; found: {found}");
        }
        Ok(())
    }

    fn assert_exception(&self, outcome: Result<Vec<Val>>) -> Result<()> {
        match outcome {
            Ok(results) => bail!(
                "expected an exception; it returned [{}]",
                self.show(&results)
            ),
            Err(error) if error.is::<ThrownException>() => Ok(()),
            Err(error) if error.is::<Consequence>() => Err(error),
            Err(error) => bail!("expected an exception; found another error: {error:#}"),
        }
    }

    fn show(&self, values: &[Val]) -> String {
        let values: Vec<_> = values.iter().map(|v| value::show(&self.store, v)).collect();
        values.join(" ")
    }

    fn assert_rejected(
        &self,
        mut module: QuoteWat<'_>,
        expected: &str,
        stage: Stage,
    ) -> Result<()> {
        let complaint = match self.compile(&mut module) {
            Ok(_) => bail!("expected a module to be refused with `{expected}`; it was accepted"),
            Err(Rejected::Disputed(e)) => return Err(e),
            Err(Rejected::Text(e)) if stage == Stage::Validation => {
                bail!(
                    "expected an invalid module, `{expected}`; its text is malformed: {}",
                    e.message()
                )
            }
            Err(Rejected::Text(e)) => e.message(),
            Err(Rejected::Binary(e)) => format!("{e:#}"),
        };
        if !message::agrees(expected, &complaint) {
            bail!(
                "expected a module to be refused with `{expected}`; it was refused with: {complaint}"
            );
        }
        Ok(())
    }

    fn assert_unlinkable(&mut self, module: Wat<'_>, expected: &str) -> Result<()> {
        let module = self
            .compile(&mut QuoteWat::Wat(module))
            .map_err(Rejected::into_error)?;
        let Err(error) = self.linker.instantiate(&mut self.store, &module) else {
            bail!("expected a module not to link, `{expected}`; it was instantiated");
        };
        if error.downcast_ref::<LinkError>().is_none()
            && error.downcast_ref::<UnknownImportError>().is_none()
        {
            bail!("expected a module not to link, `{expected}`; found another error: {error:#}");
        }
        let found = format!("{error:#}");
        if !message::agrees(expected, &found) {
            bail!("expected a module not to link, `{expected}`; found: {found}");
        }
        Ok(())
    }
}

/// The error of a directive that needs an instance which an earlier directive failed to make.
#[derive(Debug)]
struct Consequence;

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no instance, because the module before this failed")
    }
}

impl std::error::Error for Consequence {}

/// What came of some directives.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) failures: Vec<Failure>,
    pub(crate) consequences: usize,
}

/// What kind of directive was carried out.
pub(crate) enum Done {
    Action,
    Assertion,
}

/// Where a module must be refused at the latest.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Stage {
    Decoding,
    Validation,
}

/// Why a module was not compiled.
enum Rejected {
    /// Its text does not parse.
    Text(wast::Error),
    /// The engine refused its binary.
    Binary(Error),
    /// The engine's own checks disagree.
    Disputed(Error),
}

impl Rejected {
    fn into_error(self) -> Error {
        match self {
            Rejected::Text(e) => anyhow!("{}", e.message()),
            Rejected::Binary(e) | Rejected::Disputed(e) => e,
        }
    }
}

/// Scripts test names in every corner of Unicode, so none is refused for looking like something else.
fn lex(text: &str) -> Result<ParseBuffer<'_>, wast::Error> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    ParseBuffer::new_with_lexer(lexer)
}

/// The binary of a module that a script gives in any of the ways it can.
fn encode(module: &mut QuoteWat<'_>) -> Result<Vec<u8>, wast::Error> {
    let span = module.span();
    match module.to_test()? {
        QuoteWatTest::Binary(binary) => Ok(binary),
        QuoteWatTest::Text(text) => {
            let text = String::from_utf8(text)
                .map_err(|_| wast::Error::new(span, "malformed UTF-8 encoding".to_string()))?;
            let buffer = lex(&text)?;
            parser::parse::<Wat<'_>>(&buffer)?.encode()
        }
    }
}
