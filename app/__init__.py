"""The Gradio demo of gensearch."""
