function 0 `tenth`
  [wasm 0x4d]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0x53]
       mul dword ptr [rip+..]
       mov rax, rdx
       shr eax, 3
       mov rsp, rbp
       pop rbp
       ret
  [no operator]
       int 0xcc
       int3
       int3
       add [rax], al
       add [rax], al

function 1 `divide`
  [wasm 0x55]
       push rbp
       mov rbp, rsp
       mov rax, rsi
       mov r11, rdx
  [wasm 0x5a]
       cdq
       test r11d, r11d
       je L0
       idiv r11d                                ; trap: integer overflow
  [wasm 0x5b]
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x5a]
   L0:
       ud2                                      ; trap: integer divide by zero

function 2 `remainder`
  [wasm 0x5d]
       push rbp
       mov rbp, rsp
       mov rax, rsi
       mov r9, rdx
  [wasm 0x62]
       cqo
       cmp r9, 0xffffffffffffffff
       jne L0
       mov edx, 0
       jmp L1
   L0:
       idiv r9                                  ; trap: integer divide by zero
   L1:
       mov rax, rdx
  [wasm 0x63]
       mov rsp, rbp
       pop rbp
       ret

function 3 `times_24`
  [wasm 0x65]
       push rbp
       mov rbp, rsp
  [wasm 0x6a]
       imul eax, esi, 0x18
  [wasm 0x6b]
       mov rsp, rbp
       pop rbp
       ret

function 4 `rotate`
  [wasm 0x6d]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0x72]
       rol eax, 7
  [wasm 0x73]
       mov rsp, rbp
       pop rbp
       ret

function 5 `count`
  [wasm 0x75]
       push rbp
       mov rbp, rsp
       mov rax, rsi
  [wasm 0x78]
       shr rax, 1
       mov r10, 0x7777777777777777
       and rax, r10
       mov rcx, rsi
       sub rcx, rax
       shr rax, 1
       and rax, r10
       sub rcx, rax
       shr rax, 1
       and rax, r10
       sub rcx, rax
       mov rax, rcx
       shr rax, 4
       add rax, rcx
       mov rcx, 0xf0f0f0f0f0f0f0f
       and rax, rcx
       mov rcx, 0x101010101010101
       imul rax, rcx
       shr rax, 0x38
  [wasm 0x7b]
       mov rdx, 0xffffffffffffffff
       bsr rcx, rsi
       cmove rcx, rdx
       mov edx, 0x3f
       sub rdx, rcx
  [wasm 0x7c]
       add rax, rdx
  [wasm 0x7d]
       mov rsp, rbp
       pop rbp
       ret

function 6 `truncate`
  [wasm 0x7f]
       push rbp
       mov rbp, rsp
  [wasm 0x82]
       cvttsd2si eax, xmm0
       cmp eax, 1
       jno L0
       ucomisd xmm0, xmm0
       jp L1
       mov rsi, 0xc1e0000000200000
       movq xmm3, rsi
       ucomisd xmm0, xmm3
       jbe L2
       xorpd xmm3, xmm3
       ucomisd xmm3, xmm0
       jb L3
  [wasm 0x83]
   L0:
       mov rsp, rbp
       pop rbp
       ret
  [wasm 0x82]
   L1:
       ud2                                      ; trap: invalid conversion to integer
   L2:
       ud2                                      ; trap: integer overflow
   L3:
       ud2                                      ; trap: integer overflow

function 7 `truncate_sat`
  [wasm 0x85]
       push rbp
       mov rbp, rsp
  [wasm 0x88]
       mov esi, 0x5f000000
       movd xmm3, esi
       ucomiss xmm0, xmm3
       jae L1
       jnp L0
       xor rax, rax
       jmp L3
   L0:
       cvttss2si rax, xmm0
       cmp rax, 0
       jge L3
       xor rax, rax
       jmp L3
   L1:
       movaps xmm4, xmm0
       subss xmm4, xmm3
       cvttss2si rax, xmm4
       cmp rax, 0
       jge L2
       mov rax, 0xffffffffffffffff
       jmp L3
   L2:
       mov rsi, 0x8000000000000000
       add rax, rsi
  [wasm 0x8a]
   L3:
       mov rsp, rbp
       pop rbp
       ret

function 8 `larger`
  [wasm 0x8c]
       push rbp
       mov rbp, rsp
       movdqa xmm4, xmm0
       movdqa xmm0, xmm1
  [wasm 0x91]
       ucomisd xmm0, xmm4
       jne L1
       jp L0
       andpd xmm0, xmm4
       jmp L2
   L0:
       addsd xmm0, xmm4
       jp L2
   L1:
       maxsd xmm0, xmm4
  [wasm 0x92]
   L2:
       mov rsp, rbp
       pop rbp
       ret

function 9 `convert`
  [wasm 0x94]
       push rbp
       mov rbp, rsp
       mov r8, rsi
  [wasm 0x97]
       cmp r8, 0
       jl L0
       cvtsi2sd xmm0, r8
       jmp L1
   L0:
       mov rdi, r8
       shr rdi, 1
       mov rsi, r8
       and rsi, 1
       or rsi, rdi
       cvtsi2sd xmm0, rsi
       addsd xmm0, xmm0
  [wasm 0x98]
   L1:
       mov rsp, rbp
       pop rbp
       ret

function 10 `absolute`
  [wasm 0x9a]
       push rbp
       mov rbp, rsp
  [wasm 0x9d]
       mov r9d, 0x7fffffff
       movd xmm1, r9d
       andps xmm0, xmm1
       movdqa xmm3, xmm0
  [wasm 0x9e]
       mov r10d, 0xbf800000
       movd xmm1, r10d
  [wasm 0xa3]
       mov edi, 0x80000000
       movd xmm2, edi
       movdqa xmm0, xmm2
       andnps xmm0, xmm3
       andps xmm2, xmm1
       orps xmm0, xmm2
  [wasm 0xa4]
       mov rsp, rbp
       pop rbp
       ret
