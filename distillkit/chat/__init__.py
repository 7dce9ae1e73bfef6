"""Conversations: messages whole, and a tokenizer's chat template rendered in bounds.

Text to text alone; which of its tokens count is in `tasks/tokenize`, how rows are read in `data`.
"""
