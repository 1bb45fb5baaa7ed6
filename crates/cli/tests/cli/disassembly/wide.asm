function 0 `mul`
  [wasm 0x2d]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0x32]
       mul rdx
       mov rcx, rdx
  [wasm 0x34]
       mov rsp, rbp
       pop rbp
       ret

function 1 `add`
  [wasm 0x36]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0x3f]
       add rax, rcx
       mov rcx, rdx
       adc rcx, r8
  [wasm 0x41]
       mov rsp, rbp
       pop rbp
       ret

function 2 `high_from_pieces`
  [wasm 0x43]
       push rbp
       mov rbp, rsp
       mov rdi, rsi
  [wasm 0x55]
       shr rdi, 0x20
       mov rax, rdx
  [wasm 0x67]
       shr rax, 0x20
       mov rcx, rdi
  [wasm 0x7e]
       imul rcx, rax
  [wasm 0x60]
       and rdx, [rip+..]
  [wasm 0x6e]
       imul rdi, rdx
  [wasm 0x4e]
       and rsi, [rip+..]
       mov r8, rsi
  [wasm 0x73]
       imul r8, rdx
  [wasm 0x76]
       shr r8, 0x20
  [wasm 0x77]
       lea rdx, [rdi+r8]
       mov rdi, rdx
  [wasm 0x83]
       shr rdi, 0x20
  [wasm 0x84]
       add rcx, rdi
  [wasm 0x89]
       imul rsi, rax
  [wasm 0x92]
       and rdx, [rip+..]
  [wasm 0x93]
       lea rax, [rsi+rdx]
  [wasm 0x96]
       shr rax, 0x20
  [wasm 0x97]
       add rax, rcx
  [wasm 0x98]
       mov rsp, rbp
       pop rbp
       ret
  [no operator]
       add bh, bh
       (bad)
       inc dword ptr [rax]
       add [rax], al
       (bad)

function 3 `add_with_carry`
  [wasm 0x9a]
       push rbp
       mov rbp, rsp
  [wasm 0xa1]
       lea rax, [rsi+rcx]
  [wasm 0xaa]
       lea r9, [rdx+r8]
  [wasm 0xaf]
       cmp rax, rsi
       setb r10b
  [no operator]
       movzx r10, r10b
  [wasm 0xb1]
       lea rcx, [r9+r10]
  [wasm 0xb2]
       mov rsp, rbp
       pop rbp
       ret
