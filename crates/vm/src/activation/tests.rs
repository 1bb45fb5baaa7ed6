//! Tests of entering and leaving guests, with guests written in machine code.

use super::*;
use crate::code::{CompiledModule, TextPages, TypeRegistry, Verify};
use crate::testing::{Artifact, engine};
use cowling_abi::layout::{VM_MAGIC, VmHeader};
use cowling_abi::{DefinedFuncIndex, FuncIndex, TypeIndex};
use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

/// `push rbp; mov rbp, rsp`, then the given bytes.
fn framed(body: &[u8]) -> Vec<u8> {
    [&[0x55, 0x48, 0x89, 0xe5], body].concat()
}

const LEAVE_RET: [u8; 2] = [0xc9, 0xc3];

/// Guests, by index of their function. The context they get, in `rdi`, is a [`Context`].
mod guest {
    pub(super) const RETURNS: u32 = 0;
    pub(super) const UD2: u32 = 1;
    pub(super) const DIVIDES_BY_ZERO: u32 = 2;
    pub(super) const LOADS: u32 = 3;
    pub(super) const RECURSES: u32 = 4;
    pub(super) const CALLS_HOST: u32 = 5;
    pub(super) const CLOBBERS: u32 = 6;
    pub(super) const CATCHES: u32 = 7;
    pub(super) const UNKNOWN_FAULT: u32 = 8;
}

fn module() -> Arc<CompiledModule> {
    let mut artifact = Artifact::new();
    artifact.function(&framed(&LEAVE_RET), &[]);
    artifact.function(&framed(&[0x0f, 0x0b]), &[(4, Trap::UnreachableCodeReached)]);
    // xor eax, eax; cdq; xor ecx, ecx; div ecx
    artifact.function(
        &framed(&[0x31, 0xc0, 0x99, 0x31, 0xc9, 0xf7, 0xf1]),
        &[(9, Trap::IntegerDivisionByZero)],
    );
    // mov rax, [rdi + 16]; mov eax, [rax + 8]
    artifact.function(
        &framed(&[0x48, 0x8b, 0x47, 0x10, 0x8b, 0x40, 0x08]),
        &[(8, Trap::MemoryOutOfBounds)],
    );
    // call self
    artifact.function(&framed(&[0xe8, 0xf7, 0xff, 0xff, 0xff]), &[]);
    // call [rdi + 0]; leave; ret
    artifact.function(
        &framed(&[&[0xff, 0x57, 0x00][..], &LEAVE_RET].concat()),
        &[],
    );
    // xor ebx, ebx; xor r12d, r12d; xor r13d, r13d; xor r14d, r14d; xor r15d, r15d; std; ud2
    artifact.function(
        &framed(&[
            0x31, 0xdb, 0x45, 0x31, 0xe4, 0x45, 0x31, 0xed, 0x45, 0x31, 0xf6, 0x45, 0x31, 0xff,
            0xfd, 0x0f, 0x0b,
        ]),
        &[(19, Trap::UnreachableCodeReached)],
    );
    // push rbx; push rdi; mov ebx, 0x1234; call [rdi + 0]; ud2
    // handler, at 20: pop rdi; mov [rdi + 24], rax; mov [rdi + 32], rbx; pop rbx; leave; ret
    artifact.function(
        &framed(&[
            0x53, 0x57, 0xbb, 0x34, 0x12, 0x00, 0x00, 0xff, 0x57, 0x00, 0x0f, 0x0b, 0xcc, 0xcc,
            0xcc, 0xcc, 0x5f, 0x48, 0x89, 0x47, 0x18, 0x48, 0x89, 0x5f, 0x20, 0x5b, 0xc9, 0xc3,
        ]),
        &[],
    );
    artifact.function(&framed(&[0x0f, 0x0b]), &[]);
    let bytes = artifact.build();
    CompiledModule::load_bytes(
        &bytes,
        &engine(),
        &TypeRegistry::new().unwrap(),
        Verify::Full,
        TextPages::OfFile,
    )
    .unwrap()
}

const CATCH_HANDLER: usize = 20;

/// What guests find at their context, and below.
#[repr(C)]
struct WithHeader {
    header: VmHeader,
    context: Context,
}

/// What guests find at their context.
#[repr(C)]
struct Context {
    host: unsafe extern "C" fn(),
    test: *const Test,
    address: usize,
    caught: u64,
    caught_rbx: u64,
}

type Host = dyn Fn(&Test) -> Result<(), TrapReason>;

/// A store with one instance, as far as activations care.
#[repr(C)]
struct Test {
    execution: Execution,
    module: Arc<CompiledModule>,
    guest: UnsafeCell<WithHeader>,
    host: RefCell<Vec<Box<Host>>>,
}

const _: () =
    assert!(std::mem::offset_of!(Context, host) == 0 && std::mem::offset_of!(Context, test) == 8);
const _: () = assert!(
    std::mem::offset_of!(Context, address) == 16 && std::mem::offset_of!(Context, caught_rbx) == 32
);

mod stubs {
    use super::{call_host, throw};

    #[unsafe(naked)]
    pub(super) unsafe extern "C" fn host() {
        crate::arch::builtin_stub!(call_host)
    }

    #[unsafe(naked)]
    pub(super) unsafe extern "C" fn throwing() {
        crate::arch::builtin_stub!(throw)
    }
}

/// Runs the next host function of the test.
unsafe extern "C" fn call_host(context: *const Context) {
    // SAFETY: guests pass on their context, whose test outlives the call.
    let test = unsafe { &*(*context).test };
    let host = test.host.borrow_mut().pop().expect("a host function");
    let result = host(test);
    drop(host);
    if let Err(reason) = result {
        // SAFETY: called by a guest of this execution; what is left here needs no destructor.
        unsafe { raise(test.pointer(), reason) }
    }
}

/// Continues in the handler of the guest that calls it, as a throw would.
unsafe extern "C" fn throw(context: *const Context) {
    // SAFETY: as above.
    let test = unsafe { &*(*context).test };
    let frame = test.execution.guest_frames().unwrap().next().unwrap();
    let handler = test.code(guest::CATCHES) as usize + CATCH_HANDLER;
    // SAFETY: that guest's frame has two words below its frame pointer.
    unsafe {
        continue_in_handler(
            test.pointer(),
            handler as *const u8,
            frame.fp - 16,
            frame.fp,
            99,
        )
    }
}

impl Test {
    fn new() -> Box<Test> {
        crate::signals::init().unwrap();
        let mut test = Box::new(Test {
            execution: Execution::new(64 << 10, 64 << 10, Stacks::default()),
            module: module(),
            guest: UnsafeCell::new(WithHeader {
                header: VmHeader {
                    type_rows: ptr::null(),
                    type_ids: ptr::null(),
                    builtins: ptr::null(),
                    store: ptr::null_mut(),
                    instance: ptr::null_mut(),
                    place: 0,
                    magic: VM_MAGIC,
                },
                context: Context {
                    host: stubs::host,
                    test: ptr::null(),
                    address: 0,
                    caught: 0,
                    caught_rbx: 0,
                },
            }),
            host: RefCell::default(),
        });
        let address = ptr::from_ref(&*test);
        let guest = test.guest.get_mut();
        guest.context.test = address;
        guest.header.store = address.cast_mut().cast();
        test
    }

    fn pointer(&self) -> NonNull<Execution> {
        NonNull::from(self).cast()
    }

    fn code(&self, function: u32) -> *const u8 {
        self.module
            .func_code(DefinedFuncIndex::from_u32(function))
            .unwrap()
    }

    /// Host functions for the following calls, the first called first.
    fn on_host(&self, host: impl Fn(&Test) -> Result<(), TrapReason> + 'static) -> &Test {
        self.host.borrow_mut().insert(0, Box::new(host));
        self
    }

    fn call(&self, function: u32) -> Result<(), Box<Raised>> {
        let entry = self
            .module
            .entry_trampoline(TypeIndex::from_u32(0))
            .unwrap();
        let enter = || {
            // SAFETY: runs inside call_on_guest_stack; the trampoline calls code with the context it wants.
            unsafe {
                let context = (&raw mut (*self.guest.get()).context).cast();
                enter(
                    self.pointer(),
                    entry,
                    context,
                    self.code(function),
                    ptr::null_mut(),
                )
            }
        };
        // SAFETY: the execution lives in `self`.
        unsafe { call_on_guest_stack(self.pointer(), enter) }.unwrap()
    }

    fn trap(&self, function: u32) -> Trap {
        trap_of(self.call(function).unwrap_err().reason)
    }

    fn functions(&self, frames: &[usize]) -> Vec<u32> {
        let found = frames.iter().filter_map(|&pc| self.module.lookup_pc(pc));
        found.map(|location| location.func.as_u32()).collect()
    }

    /// Nothing is left of any activation.
    fn assert_idle(&self) {
        assert!(!self.execution.is_active());
        assert!(self.execution.backtrace().is_empty());
        assert!(CURRENT.get().is_null());
        assert!(self.execution.run.get().is_null());
        // SAFETY: nothing else uses the context.
        let context = unsafe { &*self.execution.context.get() };
        assert_eq!(
            (context.exit_pc, context.exit_fp, context.host_stack_limit),
            (0, 0, 0)
        );
    }
}

fn trap_of(reason: TrapReason) -> Trap {
    match reason {
        TrapReason::Wasm { trap, .. } => trap,
        other => panic!("not a trap: {other:?}"),
    }
}

#[test]
fn a_guest_returns() {
    let test = Test::new();
    for _ in 0..3 {
        test.call(guest::RETURNS).unwrap();
        test.assert_idle();
    }
}

#[test]
fn faults_are_traps_with_the_instruction_and_the_guest_can_be_called_again() {
    let test = Test::new();
    let inaccessible = crate::sys::mapping::Mapping::reserve(4096).unwrap();
    let address = inaccessible.base().addr().get();
    // SAFETY: no guest runs.
    unsafe { (*test.guest.get()).context.address = address };
    for _ in 0..3 {
        for (function, expected, at, fault_address) in [
            (guest::UD2, Trap::UnreachableCodeReached, 4, None),
            (guest::DIVIDES_BY_ZERO, Trap::IntegerDivisionByZero, 9, None),
            (guest::LOADS, Trap::MemoryOutOfBounds, 8, Some(address + 8)),
        ] {
            let raised = test.call(function).unwrap_err();
            let TrapReason::Wasm {
                trap,
                fault_address: found,
            } = raised.reason
            else {
                panic!("{raised:?}")
            };
            assert_eq!((trap, found), (expected, fault_address));
            assert_eq!(raised.frames[0], test.code(function) as usize + at);
            assert_eq!(test.functions(&raised.frames), [function]);
            test.assert_idle();
        }
        test.call(guest::RETURNS).unwrap();
    }
}

#[test]
fn guest_recursion_overflows_into_a_trap_again_and_again() {
    let test = Test::new();
    for _ in 0..100 {
        let raised = test.call(guest::RECURSES).unwrap_err();
        assert_eq!(
            test.functions(&raised.frames),
            vec![guest::RECURSES; MAX_TRAP_FRAMES]
        );
        assert_eq!(trap_of(raised.reason), Trap::StackOverflow);
        test.assert_idle();
    }
}

#[expect(unconditional_recursion, reason = "overflows the stack on purpose")]
fn exhaust(depth: &[usize; 64]) -> usize {
    let mut deeper = *black_box(depth);
    deeper[0] += 1;
    exhaust(&deeper) + black_box(&deeper)[1]
}

#[test]
fn a_host_function_that_overflows_the_stack_is_a_trap_of_its_caller() {
    let test = Test::new();
    for _ in 0..20 {
        test.on_host(|_| {
            black_box(exhaust(&[0; 64]));
            Ok(())
        });
        let raised = test.call(guest::CALLS_HOST).unwrap_err();
        assert_eq!(test.functions(&raised.frames), [guest::CALLS_HOST]);
        assert_eq!(trap_of(raised.reason), Trap::StackOverflow);
        test.assert_idle();
    }
}

#[test]
fn the_host_is_not_called_without_its_share_of_the_stack() {
    let test = Test::new();
    // Calls itself through the host until the stub refuses.
    fn again(test: &Test) -> Result<(), TrapReason> {
        // The stub looks before there are frames of the host's: this one and the test's own.
        // SAFETY: nothing else uses the context.
        let limit = unsafe { (*test.execution.context.get()).host_stack_limit };
        assert!(arch::stack_pointer() + 4096 >= limit);
        test.on_host(again);
        let raised = test.call(guest::CALLS_HOST).map_err(|r| r.reason);
        test.host.borrow_mut().clear();
        raised
    }
    test.on_host(again);
    assert_eq!(test.trap(guest::CALLS_HOST), Trap::StackOverflow);
    test.assert_idle();
    test.call(guest::RETURNS).unwrap();
}

#[test]
fn an_error_of_the_host_keeps_its_value_and_the_guests_frames() {
    let test = Test::new();
    let dropped = Arc::new(());
    let held = dropped.clone();
    test.on_host(move |_| {
        let _held = held.clone();
        Err(TrapReason::Host(anyhow::anyhow!("no such file")))
    });
    let raised = test.call(guest::CALLS_HOST).unwrap_err();
    assert_eq!(test.functions(&raised.frames), [guest::CALLS_HOST]);
    let TrapReason::Host(error) = raised.reason else {
        panic!("{raised:?}")
    };
    assert_eq!(error.to_string(), "no such file");
    assert_eq!(Arc::strong_count(&dropped), 1);
    test.assert_idle();
}

#[test]
fn a_trap_in_a_nested_call_ends_the_nested_call_only() {
    let test = Test::new();
    test.on_host(|test| {
        let outer = test.execution.backtrace();
        assert_eq!(test.functions(&outer), [guest::CALLS_HOST]);
        let raised = test.call(guest::UD2).unwrap_err();
        assert_eq!(
            test.functions(&raised.frames),
            [guest::UD2, guest::CALLS_HOST]
        );
        assert_eq!(trap_of(raised.reason), Trap::UnreachableCodeReached);
        // Where the outer guest is has not been forgotten.
        assert_eq!(test.execution.backtrace(), outer);
        test.call(guest::RETURNS).unwrap();
        Ok(())
    });
    test.call(guest::CALLS_HOST).unwrap();
    test.assert_idle();
}

#[test]
fn backtraces_span_activations_and_stop_at_each_entry() {
    let test = Test::new();
    test.on_host(|test| test.call(guest::CALLS_HOST).map_err(|raised| raised.reason));
    test.on_host(|test| {
        let frames = test.execution.backtrace();
        assert_eq!(
            test.functions(&frames),
            [guest::CALLS_HOST, guest::CALLS_HOST]
        );
        let innermost = test.execution.guest_frames().unwrap();
        // The guest function and its entry trampoline.
        assert_eq!(innermost.count(), 2);
        Err(TrapReason::Panic(Box::new("payload")))
    });
    let raised = test.call(guest::CALLS_HOST).unwrap_err();
    assert!(
        matches!(raised.reason, TrapReason::Panic(payload) if payload.downcast_ref::<&str>() == Some(&"payload"))
    );
    test.assert_idle();
}

#[test]
fn a_store_can_run_another_store_and_each_keeps_its_own_traps() {
    let test = Test::new();
    test.on_host(|outer| {
        let inner = Test::new();
        inner.on_host(|inner| {
            assert_eq!(inner.execution.backtrace().len(), 2);
            Err(TrapReason::Host(anyhow::anyhow!("inner")))
        });
        let raised = inner.call(guest::CALLS_HOST).unwrap_err();
        assert_eq!(raised.frames.len(), 2);
        assert_eq!(inner.trap(guest::RECURSES), Trap::StackOverflow);
        assert_eq!(outer.trap(guest::RECURSES), Trap::StackOverflow);
        Ok(())
    });
    test.call(guest::CALLS_HOST).unwrap();
    test.assert_idle();
}

#[test]
fn registers_and_processor_state_are_restored() {
    // What the calling convention preserves, around a guest that spoils all of it and traps with the direction flag set.
    #[unsafe(naked)]
    unsafe extern "C" fn preserved_around(
        call: extern "C" fn(*const Test),
        test: *const Test,
    ) -> u64 {
        std::arch::naked_asm!(
            "push rbp",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "sub rsp, 8",
            "mov rax, rdi",
            "mov rdi, rsi",
            "mov ebx, 1",
            "mov r12d, 2",
            "mov r13d, 3",
            "mov r14d, 4",
            "mov r15d, 5",
            "mov ebp, 6",
            "call rax",
            "pushfq",
            "pop rax",
            "and eax, 0x400",
            "sub rbx, 1",
            "or rax, rbx",
            "sub r12, 2",
            "or rax, r12",
            "sub r13, 3",
            "or rax, r13",
            "sub r14, 4",
            "or rax, r14",
            "sub r15, 5",
            "or rax, r15",
            "sub rbp, 6",
            "or rax, rbp",
            "add rsp, 8",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "pop rbp",
            "ret",
        )
    }
    extern "C" fn call(test: *const Test) {
        // SAFETY: the caller's test.
        let test = unsafe { &*test };
        assert_eq!(test.trap(guest::CLOBBERS), Trap::UnreachableCodeReached);
    }
    let test = Test::new();
    // SAFETY: passes the test through.
    assert_eq!(unsafe { preserved_around(call, &*test) }, 0);

    fn control_words() -> (u32, u16) {
        let (mut mxcsr, mut x87) = (0u32, 0u16);
        // SAFETY: stores the control words.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut mxcsr, in(reg) &mut x87)
        };
        // The exception flags are not control.
        (mxcsr & !0x3f, x87)
    }
    let before = control_words();
    test.on_host(|_| {
        // SAFETY: rounding modes; restored by the raise, which is what this tests.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &0x7f80u32, in(reg) &0x0f7fu16)
        };
        Err(TrapReason::Panic(Box::new(())))
    });
    drop(test.call(guest::CALLS_HOST));
    assert_eq!(control_words(), before);
}

#[test]
fn an_exception_continues_in_its_handler_with_the_registers_of_the_throw() {
    let test = Test::new();
    // SAFETY: no guest runs.
    unsafe { (*test.guest.get()).context.host = stubs::throwing };
    test.call(guest::CATCHES).unwrap();
    // SAFETY: as above.
    let context = unsafe { &(*test.guest.get()).context };
    assert_eq!((context.caught, context.caught_rbx), (99, 0x1234));
    test.assert_idle();
}

#[test]
fn a_panic_on_the_guest_stack_continues_outside() {
    let test = Test::new();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: the execution lives in the test.
        let _ = unsafe { call_on_guest_stack(test.pointer(), || std::panic::panic_any(7u8)) };
    }));
    assert_eq!(*caught.unwrap_err().downcast::<u8>().unwrap(), 7);
    test.assert_idle();
    test.call(guest::RETURNS).unwrap();
}

/// Sends a test to another thread. Only one thread uses it at a time.
struct Sent<T>(T);
// SAFETY: see above.
unsafe impl<T> Send for Sent<T> {}

impl<T> Sent<T> {
    fn get(&self) -> &T {
        &self.0
    }
}

#[test]
fn a_host_function_may_let_another_thread_call_the_guest() {
    let test = Test::new();
    test.on_host(|test| {
        let sent = Sent(test);
        std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                let test = sent.get();
                assert_eq!(test.trap(guest::RECURSES), Trap::StackOverflow);
                let raised = test.call(guest::UD2).unwrap_err();
                test.functions(&raised.frames)
            });
            assert_eq!(other.join().unwrap(), [guest::UD2, guest::CALLS_HOST]);
        });
        assert!(test.execution.has_host_stack());
        Ok(())
    });
    test.call(guest::CALLS_HOST).unwrap();
    test.assert_idle();
}

#[test]
fn guests_trap_on_several_threads_at_once() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let test = Test::new();
                for _ in 0..200 {
                    assert_eq!(test.trap(guest::RECURSES), Trap::StackOverflow);
                    assert_eq!(test.trap(guest::UD2), Trap::UnreachableCodeReached);
                    assert_eq!(
                        test.trap(guest::DIVIDES_BY_ZERO),
                        Trap::IntegerDivisionByZero
                    );
                }
                test.assert_idle();
            });
        }
    });
}

#[test]
fn a_fault_of_guest_code_that_is_no_trap_kills_the_process() {
    const NAME: &str = "activation::tests::a_fault_of_guest_code_that_is_no_trap_kills_the_process";
    let status = crate::testing::in_child(NAME, "", |_| {
        let test = Test::new();
        let result = test.call(guest::UNKNOWN_FAULT);
        println!("came back: {result:?}");
    });
    let signal = status.map(|s| std::os::unix::process::ExitStatusExt::signal(&s));
    assert!(signal.is_none_or(|s| s == Some(libc::SIGILL)), "{signal:?}");
}

#[test]
fn the_function_index_of_a_guest_is_its_position() {
    let test = Test::new();
    let found = test
        .module
        .lookup_pc(test.code(guest::CATCHES) as usize)
        .unwrap();
    assert_eq!(found.func, FuncIndex::from_u32(guest::CATCHES));
}
