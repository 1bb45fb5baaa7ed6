//! A server: requests come through a channel, workers answer each with an instance of its own, checked and linked once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "request" "length" (func $length (result i32)))
  (import "request" "read" (func $read (param i32)))
  (import "response" "write" (func $write (param i32 i32)))
  (memory (export "memory") 1)
  ;; Answers with the request backwards.
  (func (export "handle")
    (local $len i32) (local $i i32) (local $j i32) (local $byte i32)
    (call $read (i32.const 0))
    (local.set $len (call $length))
    (if (i32.eqz (local.get $len)) (then unreachable))
    (local.set $j (i32.sub (local.get $len) (i32.const 1)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_s (local.get $i) (local.get $j)))
        (local.set $byte (i32.load8_u (local.get $i)))
        (i32.store8 (local.get $i) (i32.load8_u (local.get $j)))
        (i32.store8 (local.get $j) (local.get $byte))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $j (i32.sub (local.get $j) (i32.const 1)))
        (br $next)))
    (call $write (i32.const 0) (local.get $len))))
"#;

struct Exchange {
    request: String,
    response: Option<String>,
}

fn memory(caller: &mut Caller<'_, Exchange>) -> Result<Memory> {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| format_err!("the handler exports no memory"))
}

fn linker(engine: &Engine) -> Result<Linker<Exchange>> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("request", "length", |caller: Caller<'_, Exchange>| {
            caller.data().request.len() as u32
        })?
        .func_wrap(
            "request",
            "read",
            |mut caller: Caller<'_, Exchange>, at: u32| -> Result<()> {
                let request = caller.data().request.clone();
                memory(&mut caller)?.write(&mut caller, at as usize, request.as_bytes())?;
                Ok(())
            },
        )?
        .func_wrap(
            "response",
            "write",
            |mut caller: Caller<'_, Exchange>, at: u32, len: u32| -> Result<()> {
                let mut bytes = vec![0; len as usize];
                memory(&mut caller)?.read(&caller, at as usize, &mut bytes)?;
                caller.data_mut().response = Some(String::from_utf8(bytes)?);
                Ok(())
            },
        )?;
    Ok(linker)
}

/// What all workers share.
#[derive(Clone)]
struct Server {
    engine: Engine,
    handler: InstancePre<Exchange>,
    entry: ModuleExport,
}

impl Server {
    fn new() -> Result<Server> {
        let engine = Engine::default();
        let module = Module::new(&engine, GUEST)?;
        let entry = module
            .get_export_index("handle")
            .expect("the module is ours");
        let handler = linker(&engine)?.instantiate_pre(&module)?;
        Ok(Server {
            engine,
            handler,
            entry,
        })
    }

    fn answer(&self, request: String) -> Result<String> {
        let mut store = Store::new(
            &self.engine,
            Exchange {
                request,
                response: None,
            },
        );
        let instance = self.handler.instantiate(&mut store)?;
        let entry = instance.get_module_export(&mut store, &self.entry);
        let entry = entry
            .and_then(Extern::into_func)
            .expect("the module is ours");
        entry.typed::<(), ()>(&store)?.call(&mut store, ())?;
        store
            .into_data()
            .response
            .ok_or_else(|| format_err!("no response"))
    }
}

pub fn main() -> Result<()> {
    let server = Server::new()?;
    let (requests, queue) = mpsc::channel::<(u32, String)>();
    let queue = Arc::new(Mutex::new(queue));
    let answers = Arc::new(Mutex::new(BTreeMap::new()));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (server, queue, answers) = (server.clone(), queue.clone(), answers.clone());
            thread::spawn(move || {
                loop {
                    let next = queue.lock().unwrap().recv();
                    let Ok((id, request)) = next else { return };
                    let answer = server.answer(request);
                    answers.lock().unwrap().insert(id, answer);
                }
            })
        })
        .collect();
    for id in 0..60 {
        let request = match id % 20 {
            13 => String::new(),
            17 => "!".repeat(70_000),
            _ => format!("request number {id}"),
        };
        requests.send((id, request))?;
    }
    drop(requests);
    for worker in workers {
        worker.join().unwrap();
    }
    for (id, answer) in answers.lock().unwrap().iter() {
        match answer {
            Ok(answer) => println!("{id}: {answer}"),
            Err(error) if error.is::<Trap>() => {
                println!("{id}: {:?}", error.downcast_ref::<Trap>())
            }
            Err(error) => println!("{id}: {}", error.is::<MemoryAccessError>()),
        }
    }
    println!("{:?}", server.handler.module().name());
    Ok(())
}
