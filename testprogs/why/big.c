/* libbig.so takes 12 MiB of address space. */
char big[12 << 20];
