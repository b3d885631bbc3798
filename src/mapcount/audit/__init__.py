"""What one machine's memory would look like to user space under each kernel, and where its kernel is mistaken."""
