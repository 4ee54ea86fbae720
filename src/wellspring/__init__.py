"""Where does a dense retriever's knowledge come from?"""

__version__ = "0.2.0"
