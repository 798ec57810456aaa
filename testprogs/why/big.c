/* libbig.so takes 64 MiB of address space. */
char big[64 << 20];
