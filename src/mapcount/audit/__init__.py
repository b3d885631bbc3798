"""What user space would see of one machine's memory under each kernel, and where its kernel is mistaken."""
