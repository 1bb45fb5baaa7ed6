function 0 `switch`
  [wasm 0x2c]
       push rbp
       mov rbp, rsp
  [wasm 0x37]
       mov r8d, 4
       mov r9d, esi
       cmp r9d, r8d
       cmovb r8d, r9d
       lea rcx, [rip+..]
       movsxd rax, [rcx+r8*4]
       add rcx, rax
       jmp rcx
       sub eax, 0x23000000
       add [rax], al
       add [rcx], bl
       add [rax], al
       add [rip+..], ch
       add [rax], al
       add cl, ch
  [no operator]
       adc al, 0
       add [rax], al
  [wasm 0x47]
       mov eax, 0x1e
  [wasm 0x49]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x43]
       mov eax, 0x14
  [wasm 0x45]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x3f]
       mov eax, 0xa
  [wasm 0x41]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x4b]
       mov eax, 0x28
  [wasm 0x4d]
       mov rsp, rbp
       pop rbp
       ret

function 1 `smaller`
  [wasm 0x4f]
       push rbp
       mov rbp, rsp
  [wasm 0x5a]
       cmp edx, esi
       mov rax, rsi
       cmovl eax, edx
       mov rsp, rbp
       pop rbp
       ret

function 2 `compare`
  [wasm 0x5c]
       push rbp
       mov rbp, rsp
  [wasm 0x63]
       test esi, 1
       je L1
  [wasm 0x6d]
       mov r11d, edx
       mov r11d, [rdi+r11]                      ; trap: out of bounds memory access
       cmp esi, r11d
       jae L0
  [wasm 0x7c]
       cmp esi, edx
       sete al
       movzx eax, al
  [wasm 0x7d]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x73]
   L0:
       mov eax, 2
  [wasm 0x75]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x67]
   L1:
       mov eax, 1
       mov rsp, rbp
       pop rbp
       ret

function 3 `nested`
  [wasm 0x7f]
       push rbp
       mov rbp, rsp
  [wasm 0x8f]
       xor r8d, r8d
       mov rax, [rdi-0x48]
  [wasm 0x96]
   L0:
       xor r9, r9
  [wasm 0x8e]
   L1:
       lea ecx, [r8+r9]
  [wasm 0x8f]
       movzx rcx, byte ptr [rax+rcx]            ; trap: out of bounds memory access
       test ecx, ecx
       je L2
  [wasm 0x98]
       mov ecx, 1
       mov [rax+r9], cl                         ; trap: out of bounds memory access
  [wasm 0xa5]
   L2:
       add r9d, 1
  [wasm 0xa6]
       cmp r9d, edx
       jb L1
  [wasm 0xb2]
       add r8d, 1
  [wasm 0xb3]
       cmp r8d, esi
       jb L0
  [wasm 0xb6]
       mov rsp, rbp
       pop rbp
       ret
