function 0 `sum`
  [wasm 0x36]
       push rbp
       mov rbp, rsp
  [wasm 0x39]
       mov rdi, [rdi-0x18]
       mov rdi, [rdi+0x20]
       mov r8d, esi
       mov eax, [rdi+r8]
  [wasm 0x43]
       add eax, [rdi+r8+4]
  [wasm 0x44]
       mov rsp, rbp
       pop rbp
       ret

function 1 `total`
  [wasm 0x46]
       push rbp
       mov rbp, rsp
       mov r8, rsi
  [wasm 0x51]
       xor rsi, rsi
       xor eax, eax
       mov rcx, [rdi-0x18]
       mov rdx, [rcx+0x20]
       mov rcx, r8
       mov edi, ecx
       lea rcx, [rdx+rdi]
       mov edx, [rdx+rdi-4]
  [wasm 0x54]
   L0:
       cmp esi, edx
       jae L1
  [wasm 0x5c]
       xor rdi, rdi
       cmp esi, edx
       mov r8, rsi
       cmovae r8, rdi
  [wasm 0x69]
       add esi, 1
  [wasm 0x5f]
       add eax, [rcx+r8*4]
  [wasm 0x69]
       jmp L0
  [wasm 0x6f]
   L1:
       mov rsp, rbp
       pop rbp
       ret

function 2 `is_point`
  [wasm 0x71]
       push rbp
       mov rbp, rsp
  [wasm 0x74]
       mov rax, [rdi-0x18]
       mov rax, [rax+0x20]
       xor r10d, r10d
       test esi, 0x80000001
       cmove r10d, esi
       mov ecx, r10d
       mov eax, [rax+rcx-8]
       mov rcx, [rdi-0x28]
       cmp eax, [rcx]
       sete al
       movzx eax, al
  [wasm 0x77]
       mov rsp, rbp
       pop rbp
       ret

function 3 `make`
  [wasm 0x79]
       push rbp
       mov rbp, rsp
       mov r8, rsi
  [wasm 0x7e]
       mov rcx, [rdi-0x18]
       mov rax, [rcx+0x28]
       mov rdx, [rcx+0x30]
       lea rsi, [rax+0x10]
       cmp rsi, rdx
       ja L1
       lea rdx, [rax+0x10]
       mov [rcx+0x28], rdx
       mov rdx, [rdi-0x28]
       mov esi, [rdx]
       mov rdx, [rcx+0x20]
       mov [rdx+rax-8], esi
       movzx rsi, byte ptr [rcx+0x38]
       mov rdi, rax
       shr rdi, 4
       mov [rdx+rdi-0x8801000], sil
  [no operator]
   L0:
       mov rcx, [rcx+0x20]
  [wasm 0x7e]
       mov edx, eax
       mov rsi, r8
       mov [rcx+rdx], esi
  [wasm 0x81]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x7e]
   L1:
       mov rax, [rdi-0x20]
       mov rax, [rax+0xa0]
  [no operator]
       mov rdx, [rdi-0x28]
       mov esi, [rdx]
  [wasm 0x7c]
       xor edx, edx
  [wasm 0x7e]
       call rax
       mov eax, [rcx+0x3c]
       jmp L0
